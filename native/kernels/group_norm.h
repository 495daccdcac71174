#pragma once

#include <cstdint>

namespace nd::kernels {

// T is float, or uint16_t for bfloat16 as its bits.

/// What follows the normalisation in the same pass.
enum class NormActivation { none, silu };

/// GroupNorm over NHWC memory in one go, its statistics in fp32:
///
///     y = act((x − μ_g)/√(σ²_g + ε)·γ_c + β_c)        where scale is null
///     y = act(((x − μ_g)/√(σ²_g + ε)·γ_c + β_c)·(1 + scale_bc) + shift_bc)        where it is not
///
/// x and y: [batch, pixels, channels], dense; γ, β: [channels] float, or null for 1 and 0; scale, shift: [batch,
/// channels] with `modulation_stride` between rows, float. y may be x. A sample's result does not depend on its place in
/// the batch or on the number of threads.
struct GroupNormShape {
  int64_t batch, pixels, channels, groups;
};
struct GroupNormParameters {
  const float* gamma;
  const float* beta;
  const float* scale;
  const float* shift;
  int64_t modulation_stride;
  float eps;
  NormActivation activation;
};
template <typename T>
void group_norm_nhwc(const T* x, T* y, GroupNormShape shape, const GroupNormParameters& parameters);

}  // namespace nd::kernels
