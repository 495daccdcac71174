#pragma once

#include <ATen/core/Tensor.h>

#include <limits>
#include <optional>
#include <vector>

namespace nd {

/// One sample's step, whatever the scheduler, the prediction type and the jump t → s:
///
///     x0  = clip((p·x_t + q·out) / d, ±bound) / k         predicted original sample
///     x_s = c_x0·x0 + c_xt·x_t + c_out·out + σ·z          previous sample,  z ~ N(0, I)
///
/// d divides instead of 1/d multiplying: at ᾱ_t = 0 the quotient is ±∞, which the clip turns into ±bound.
struct StepRow {
  float p = 0, q = 0, d = 1;
  float bound = std::numeric_limits<float>::infinity();
  float c_x0 = 0, c_xt = 0, c_out = 0;
  float sigma = 0;
  // Learned variance in a range (Nichol & Dhariwal 2021, eq. 15): σ² = exp(v·log β_t + (1 − v)·log β̃_t).
  float log_beta = 0, log_posterior_variance = 0;
};

enum class LearnedVariance { none, direct, range };

/// Dynamic thresholding (Imagen, arXiv:2205.11487, section 2.3): per sample, s = the ratio-quantile of |x0| clamped to
/// [1, max]; then bound = k = s.
struct DynamicThreshold {
  double ratio;
  double max;
};

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
