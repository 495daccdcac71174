#pragma once

#include <cstdint>

#include "kernels/step_row.h"

namespace nd::kernels {

/// Names the normal numbers of one draw: sample i of any batch, in any slot, on any device gets the same.
struct PhiloxKey {
  uint64_t seed;
  uint32_t draw;  // 0: x_T; i + 1: step i's z
};

/// One sample's step over `numel` contiguous floats; see StepRow. Samples need not lie side by side.
struct SampleStep {
  StepRow row;
  float k = 1;               // dynamic thresholding's s, which divides the clipped x0
  LearnedVariance learned = LearnedVariance::none;
  const float* x;            // x_t
  const float* out;          // the model's
  const float* variance;     // the model's second half; null without a learned one
  const float* noise;        // z; null: none, or Philox's
  const PhiloxKey* philox;   // z made in registers, where noise is null; null: none
  float* prev;               // x_s; may be x
  float* x0;                 // or null
};

/// One pass over memory: a row and a source of noise per sample, SIMD, all cores. The bits are the reference's, without
/// fused multiply-add, so a sample's result depends neither on its slot nor on its neighbours. With a learned variance
/// they are the same on every instruction set and within 1e-6 of the reference's, whose exp and √ are libtorch's.
void fused_step(const SampleStep* samples, int64_t count, int64_t numel);

/// The same numbers as fused_step makes in registers: element e of the draw is element e of `to`.
void philox_normal(float* to, int64_t numel, PhiloxKey key);

}  // namespace nd::kernels
