#include "core/schedulers/step_coefficients.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>

#include "core/errors.h"

namespace nd {
namespace {

/// A linear form in (x0, x_t, out).
struct Affine {
  float x0, xt, out;
};

/// torch's own square root, whose last bit may differ from std::sqrt's. It matters for σ alone: 1 − ᾱ_s − σ² cancels to
/// nothing where ᾱ_t is near 0 and η near 1.
float torch_sqrt(float x) { return at::sqrt(at::scalar_tensor(x, at::kFloat)).item<float>(); }

/// p, q, d and the bound: x0 = clip((p·x_t + q·out) / d).
StepRow prediction_row(const SchedulerConfig& config, float alpha_t) {
  const float sqrt_alpha = std::sqrt(alpha_t);
  const float sqrt_one_minus = std::sqrt(1.0f - alpha_t);
  StepRow row;
  switch (config.prediction_type) {
    // DDPM eq. 15: x0 = (x_t − √(1 − ᾱ_t) ε) / √ᾱ_t
    case PredictionType::epsilon: row.p = 1, row.q = -sqrt_one_minus, row.d = sqrt_alpha; break;
    case PredictionType::sample: row.p = 0, row.q = 1, row.d = 1; break;
    // Salimans & Ho 2022 (arXiv:2202.00512), appendix D: x0 = √ᾱ_t x_t − √(1 − ᾱ_t) v
    case PredictionType::v_prediction: row.p = sqrt_alpha, row.q = -sqrt_one_minus, row.d = 1; break;
  }
  if (config.clip_sample && !config.thresholding) row.bound = static_cast<float>(config.clip_sample_range);
  if (row.d == 0 && !config.clip_sample && !config.thresholding) {
    fail(ErrorCode::config, "clipSample or thresholding must be true where ᾱ_t = 0 and predictionType is 'epsilon': x0 = "
                            "(x_t − ε)/0 needs a bound (rescaleBetasZeroSnr makes the last ᾱ 0)");
  }
  return row;
}

/// ε as a linear form: the model's own, or with use_clipped_model_output derived from the clipped x0.
Affine epsilon_form(PredictionType type, float alpha_t, bool use_clipped_model_output) {
  const float sqrt_alpha = std::sqrt(alpha_t);
  const float sqrt_one_minus = std::sqrt(1.0f - alpha_t);
  if (use_clipped_model_output) return {-sqrt_alpha / sqrt_one_minus, 1.0f / sqrt_one_minus, 0};
  switch (type) {
    case PredictionType::epsilon: return {0, 0, 1};
    case PredictionType::sample: return {0, 1.0f / sqrt_one_minus, -sqrt_alpha / sqrt_one_minus};
    case PredictionType::v_prediction: return {0, sqrt_one_minus, sqrt_alpha};
  }
  fail(ErrorCode::config, "predictionType has an unknown value");
}

void require_finite(const StepRow& row, float alpha_t, float alpha_s) {
  for (float value : {row.p, row.q, row.c_x0, row.c_xt, row.c_out, row.sigma}) {
    if (!std::isfinite(value)) {
      fail(ErrorCode::config, "the betas give no finite step from ᾱ_t = ", alpha_t, " to ᾱ_s = ", alpha_s,
           " with this predictionType: a division by 1 − ᾱ_t or ᾱ_s = 0");
    }
  }
}

}  // namespace

Posterior posterior(float alpha_t, float alpha_s) {
  const float one_minus_t = 1.0f - alpha_t;
  const float one_minus_s = 1.0f - alpha_s;
  const float current_alpha = alpha_t / alpha_s;
  const float current_beta = 1.0f - current_alpha;
  return {
      .c_x0 = std::sqrt(alpha_s) * current_beta / one_minus_t,
      .c_xt = std::sqrt(current_alpha) * one_minus_s / one_minus_t,
      .variance = one_minus_s / one_minus_t * current_beta,
      .beta = current_beta,
  };
}

StepRow ddpm_row(const SchedulerConfig& config, float alpha_t, float alpha_s, bool noisy) {
  auto row = prediction_row(config, alpha_t);
  const auto post = posterior(alpha_t, alpha_s);
  row.c_x0 = post.c_x0;
  row.c_xt = post.c_xt;
  if (noisy) {
    const float variance = std::max(post.variance, 1e-20f);  // its logarithm is taken; 0 at the end of a list
    switch (config.variance_type) {
      case VarianceType::fixed_small: row.sigma = std::sqrt(variance); break;
      case VarianceType::fixed_small_log: row.sigma = std::exp(0.5f * std::log(variance)); break;
      case VarianceType::fixed_large: row.sigma = std::sqrt(post.beta); break;
      // Differs from diffusers: it takes √(log β_t), which is NaN, or 0 at β_t = 1.
      case VarianceType::fixed_large_log: row.sigma = std::sqrt(post.beta); break;
      case VarianceType::learned:
      case VarianceType::learned_range: row.sigma = 1; break;  // the model's own
    }
    row.log_beta = std::log(post.beta);
    row.log_posterior_variance = std::log(variance);
    if (!std::isfinite(post.variance)) row.sigma = post.variance;  // std::max would hide a NaN
  }
  require_finite(row, alpha_t, alpha_s);
  return row;
}

StepRow ddim_row(const SchedulerConfig& config, float alpha_t, float alpha_s, double eta, bool use_clipped_model_output) {
  auto row = prediction_row(config, alpha_t);

  // σ = η √((1 − ᾱ_s)/(1 − ᾱ_t)) √(1 − ᾱ_t/ᾱ_s), eq. 16
  if (eta > 0) {
    const float variance = (1.0f - alpha_s) / (1.0f - alpha_t) * (1.0f - alpha_t / alpha_s);
    row.sigma = static_cast<float>(eta) * torch_sqrt(variance);
  }

  // The direction pointing to x_t, √(1 − ᾱ_s − σ²) ε, eq. 12.
  // Differs from diffusers: rounding may leave the radicand just under 0, where its result is NaN.
  const float radicand = 1.0f - alpha_s - row.sigma * row.sigma;
  if (radicand < -1e-6f) {
    fail(ErrorCode::config, "eta must leave 1 − ᾱ_s − σ² ≥ 0, got eta ", eta, ", which gives ", radicand);
  }
  const float direction = std::sqrt(std::max(radicand, 0.0f));
  if (std::isnan(radicand)) row.sigma = radicand;
  // Where the direction is 0, ε does not matter, even one that 1 − ᾱ_t = 0 leaves undefined.
  const auto eps = direction == 0 ? Affine{0, 0, 0}
                                  : epsilon_form(config.prediction_type, alpha_t, use_clipped_model_output);
  row.c_x0 = std::sqrt(alpha_s) + direction * eps.x0;
  row.c_xt = direction * eps.xt;
  row.c_out = direction * eps.out;
  require_finite(row, alpha_t, alpha_s);
  return row;
}

}  // namespace nd
