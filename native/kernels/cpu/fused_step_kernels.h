#pragma once

#include "kernels/cpu/isa.h"
#include "kernels/fused_step.h"

namespace nd::kernels {

/// What fused_step.cpp builds on, once per instruction set. One thread each; elements begin … end − 1 of a sample, begin
/// a multiple of Philox's group of 64.
struct FusedStepKernels {
  void (*step)(const SampleStep& sample, int64_t begin, int64_t end);
  void (*normal)(float* to, int64_t begin, int64_t end, PhiloxKey key);
};

namespace portable {
extern const FusedStepKernels fused_step_f32;
}  // namespace portable
#if defined(__x86_64__)
namespace avx2 {
extern const FusedStepKernels fused_step_f32;
}  // namespace avx2
namespace avx512 {
extern const FusedStepKernels fused_step_f32;
}  // namespace avx512
#endif

/// fused_step and philox_normal on a chosen instruction set, for tests.
void fused_step_on(Isa isa, const SampleStep* samples, int64_t count, int64_t numel);
void philox_normal_on(Isa isa, float* to, int64_t numel, PhiloxKey key);

}  // namespace nd::kernels
