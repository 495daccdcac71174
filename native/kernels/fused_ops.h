#pragma once

#include <ATen/core/Tensor.h>

#include <optional>
#include <vector>

#include "kernels/step_row.h"

namespace nd {

struct StepInputs {
  at::Tensor sample;            // x_t       [B, C, …]
  at::Tensor model_output;      // out       [B, C, …]
  at::Tensor noise;             // z         [B, C, …], undefined where no row needs it
  at::Tensor learned_variance;  // the model's second half, undefined without one
  LearnedVariance learned = LearnedVariance::none;
  std::optional<DynamicThreshold> threshold;
  bool want_x0 = true;
};

struct StepOutputs {
  at::Tensor prev_sample;
  at::Tensor pred_original_sample;  // undefined unless wanted
};

/// Applies row i to sample i, or one row to all, in float32 or, where an input is, float64. The outputs have torch's
/// promotion of the two inputs' dtypes. By fused_step for a float32 sample on the CPU or CUDA and an output of at most its
/// precision; else by the reference.
StepOutputs affine_step(const std::vector<StepRow>& rows, const StepInputs& inputs);

/// The same in plain libtorch operators, for every dtype and device.
StepOutputs affine_step_reference(const std::vector<StepRow>& rows, const StepInputs& inputs);

/// The predicted original samples before the clip: (p·x_t + q·out) / d.
at::Tensor unclipped_x0(const std::vector<StepRow>& rows, const at::Tensor& sample, const at::Tensor& model_output);
/// The thresholds s of every sample, as a [B, 1, …] column, from unclipped_x0.
at::Tensor dynamic_thresholds(const at::Tensor& x0, const DynamicThreshold& threshold);

}  // namespace nd
