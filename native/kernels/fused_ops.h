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
};

struct StepOutputs {
  at::Tensor prev_sample;
  at::Tensor pred_original_sample;
};

/// Applies row i to sample i in plain libtorch operators, in float32 or, where an input is, float64. The outputs have
/// torch's promotion of the two inputs' dtypes.
StepOutputs affine_step_reference(const std::vector<StepRow>& rows, const StepInputs& inputs);

}  // namespace nd
