#pragma once

#include "core/schedulers/scheduler_config.h"
#include "kernels/fused_ops.h"

namespace nd {

// Notation (papers → here): ᾱ_t → alpha_t, 1 − ᾱ_t → one_minus_t, s → the timestep jumped to, σ → sigma, η → eta.
// All arithmetic is float32 in diffusers' order of operations: doubles would move DDPM's coefficients by 1e-4 at t = 1, 2.

/// The row of DDPM's q(x_s | x_t, x0), Ho et al. 2020 (arXiv:2006.11239), eqs. 6 and 7, with the model's x0 of eq. 15.
/// `noisy` is t > 0. Throws ERR_CONFIG where a coefficient is not finite.
StepRow ddpm_row(const SchedulerConfig& config, float alpha_t, float alpha_s, bool noisy);

/// The row of DDIM, Song et al. 2021 (arXiv:2010.02502), eqs. 12 and 16. η = 0 is σ = 0 exactly.
StepRow ddim_row(const SchedulerConfig& config, float alpha_t, float alpha_s, double eta, bool use_clipped_model_output);

/// Coefficients of the posterior q(x_s | x_t, x_0) = N(c_x0·x_0 + c_xt·x_t, variance·I), eq. 7 of DDPM.
struct Posterior {
  float c_x0;
  float c_xt;
  float variance;
  float beta;  // 1 − ᾱ_t/ᾱ_s: β_t when s = t − 1
};
Posterior posterior(float alpha_t, float alpha_s);

}  // namespace nd
