#pragma once

#include <cstdint>

namespace nd::kernels {

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
void group_norm_nhwc(const float* x, float* y, GroupNormShape shape, const GroupNormParameters& parameters);
/// bfloat16 as its bits.
void group_norm_nhwc_bf16(const uint16_t* x, uint16_t* y, GroupNormShape shape, const GroupNormParameters& parameters);

/// The same of x and x2 put together along the channels, without putting them together: x: [batch, pixels, channels −
/// channels2], x2: [batch, pixels, channels2], y: [batch, pixels, channels] apart from both; `shape.channels` and the
/// parameters are the whole's.
void group_norm_nhwc2(const float* x, const float* x2, int64_t channels2, float* y, GroupNormShape shape,
                      const GroupNormParameters& parameters);
void group_norm_nhwc2_bf16(const uint16_t* x, const uint16_t* x2, int64_t channels2, uint16_t* y, GroupNormShape shape,
                           const GroupNormParameters& parameters);

}  // namespace nd::kernels
