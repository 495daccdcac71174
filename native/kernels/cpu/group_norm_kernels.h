#pragma once

#include "kernels/cpu/isa.h"
#include "kernels/group_norm.h"

namespace nd::kernels {

/// What group_norm.cpp builds on, once per instruction set. One thread each.
template <typename T>
struct GroupNormKernels {
  /// Of each channel over the rows of x, [pixels, channels]: its mean and Σ(x − mean)².
  void (*moments)(const T* x, int64_t pixels, int64_t channels, float* mean, float* squares);
  /// y = x·a_c + b_c, then SiLU where asked.
  void (*apply)(const T* x, T* y, int64_t pixels, int64_t channels, const float* a, const float* b, bool silu);
};

namespace portable {
extern const GroupNormKernels<float> group_norm_f32;
extern const GroupNormKernels<uint16_t> group_norm_bf16;
}  // namespace portable
#if defined(__x86_64__)
namespace avx2 {
extern const GroupNormKernels<float> group_norm_f32;
extern const GroupNormKernels<uint16_t> group_norm_bf16;
}  // namespace avx2
namespace avx512 {
extern const GroupNormKernels<float> group_norm_f32;
extern const GroupNormKernels<uint16_t> group_norm_bf16;
}  // namespace avx512
#endif

/// group_norm_nhwc on a chosen instruction set, for tests.
template <typename T>
void group_norm_on(Isa isa, const T* x, T* y, GroupNormShape shape, const GroupNormParameters& parameters);

}  // namespace nd::kernels
