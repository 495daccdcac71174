#pragma once

#include <limits>

namespace nd {

/// One sample's step, whatever the scheduler, the prediction type and the jump t → s:
///
///     x0  = clip((p·x_t + q·out) / d, ±bound) / k         predicted original sample
///     x_s = c_x0·x0 + c_xt·x_t + c_out·out + σ·z          previous sample,  z ~ N(0, I)
///
/// d divides instead of 1/d multiplying: at ᾱ_t = 0 the quotient is ±∞, which the clip turns into ±bound. Where σ = 0
/// there is no noise: whatever z holds is not looked at.
struct StepRow {
  float p = 0, q = 0, d = 1;
  float bound = std::numeric_limits<float>::infinity();
  float c_x0 = 0, c_xt = 0, c_out = 0;
  float sigma = 0;  // with a learned variance only whether it is 0 counts
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

}  // namespace nd
