#include "core/schedulers/noise_schedule.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <numbers>

#include "core/errors.h"

namespace nd {
namespace {

/// Nichol & Dhariwal 2021 (arXiv:2102.09672), eq. 17: ᾱ(t) = cos²((t + 0.008) / 1.008 · π/2).
double cosine_alpha_bar(double t) { return std::pow(std::cos((t + 0.008) / 1.008 * std::numbers::pi / 2), 2); }

/// The Laplace schedule of arXiv:2407.03297, as diffusers states it.
double laplace_alpha_bar(double t) {
  const double lambda = -0.5 * std::copysign(1.0, 0.5 - t) * std::log(1 - 2 * std::fabs(0.5 - t) + 1e-6);
  const double snr = std::exp(lambda);
  return std::sqrt(snr / (1 + snr));
}

/// β_t = min(1 − ᾱ((t+1)/T) / ᾱ(t/T), 0.999), in doubles, then float32.
at::Tensor betas_for_alpha_bar(int64_t T, double (*alpha_bar)(double)) {
  auto betas = at::empty({T}, at::kFloat);
  float* out = betas.data_ptr<float>();
  for (int64_t i = 0; i < T; ++i) {
    const double t1 = static_cast<double>(i) / static_cast<double>(T);
    const double t2 = static_cast<double>(i + 1) / static_cast<double>(T);
    out[i] = static_cast<float>(std::min(1 - alpha_bar(t2) / alpha_bar(t1), 0.999));
  }
  return betas;
}

at::Tensor make_betas(const SchedulerConfig& c) {
  const auto T = c.num_train_timesteps;
  if (!c.trained_betas.empty()) return at::tensor(c.trained_betas, at::kDouble).to(at::kFloat);
  switch (c.beta_schedule) {
    case BetaSchedule::linear: return at::linspace(c.beta_start, c.beta_end, T, at::kFloat);
    case BetaSchedule::scaled_linear:
      return at::linspace(std::sqrt(c.beta_start), std::sqrt(c.beta_end), T, at::kFloat).pow(2);
    case BetaSchedule::squaredcos_cap_v2: return betas_for_alpha_bar(T, cosine_alpha_bar);
    case BetaSchedule::laplace: return betas_for_alpha_bar(T, laplace_alpha_bar);
    case BetaSchedule::sigmoid:
      return at::linspace(-6, 6, T, at::kFloat).sigmoid().mul(c.beta_end - c.beta_start).add(c.beta_start);
  }
  fail(ErrorCode::config, "betaSchedule has an unknown value");
}

/// Lin et al. 2023 (arXiv:2305.08891), Algorithm 1: shift and scale √ᾱ so that ᾱ_{T−1} = 0 and ᾱ_0 stays.
at::Tensor rescale_zero_terminal_snr(const at::Tensor& betas) {
  auto sqrt_bar = at::cumprod(1.0 - betas, 0).sqrt();
  const auto first = sqrt_bar[0].clone();
  const auto last = sqrt_bar[-1].clone();
  sqrt_bar.sub_(last);
  sqrt_bar.mul_(first / (first - last));
  const auto bar = sqrt_bar.pow(2);
  const auto alphas = at::cat({bar.slice(0, 0, 1), bar.slice(0, 1) / bar.slice(0, 0, -1)});
  return 1.0 - alphas;
}

std::vector<float> to_vector(const at::Tensor& t) {
  const auto dense = t.contiguous();
  const float* data = dense.const_data_ptr<float>();
  return {data, data + dense.numel()};
}

}  // namespace

NoiseSchedule make_noise_schedule(const SchedulerConfig& config) {
  validate(config);
  auto betas = make_betas(config);
  if (config.rescale_betas_zero_snr) betas = rescale_zero_terminal_snr(betas);
  const auto alphas = 1.0 - betas;
  NoiseSchedule s{to_vector(betas), to_vector(alphas), to_vector(at::cumprod(alphas, 0))};
  for (float a : s.alphas_cumprod) {
    if (!(a >= 0 && a <= 1)) {
      fail(ErrorCode::config, "rescaleBetasZeroSnr, betaSchedule and the betas give a table of ᾱ that leaves [0, 1]: got ", a);
    }
  }
  return s;
}

}  // namespace nd
