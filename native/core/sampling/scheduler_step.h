#pragma once

#include "core/sampling/noise_source.h"
#include "core/schedulers/noise_scheduler.h"
#include "kernels/fused_ops.h"

namespace nd {

/// A model's output, taken apart.
struct ModelOutput {
  at::Tensor prediction;  // [B, C, …]
  at::Tensor variance;    // [B, C, …], undefined without a learned one
};

/// Splits off a learned variance, or drops it where the scheduler has no use for it. Throws ERR_SHAPE where the channels do
/// not fit, ERR_ARGUMENT for negative variances.
ModelOutput split_model_output(const NoiseScheduler& scheduler, const at::Tensor& output, const at::Tensor& sample);

/// One step of a batch in which every sample may have its own timestep, target and η. model_output is [B, C, …], or
/// [B, 2C, …] with a learned variance (which DDIM drops). Checks everything before it draws or computes anything.
StepOutputs scheduler_step(const NoiseScheduler& scheduler, const at::Tensor& model_output, const at::Tensor& sample,
                           const JumpOptions& jump, const NoiseSource& noise, bool want_x0 = true);

/// x_t = √ᾱ_t x_0 + √(1 − ᾱ_t) ε, DDPM (arXiv:2006.11239) eq. 4. One timestep, or one per sample.
at::Tensor add_noise(const NoiseScheduler& scheduler, const at::Tensor& original, const at::Tensor& noise,
                     const std::vector<int64_t>& timesteps);

/// v_t = √ᾱ_t ε − √(1 − ᾱ_t) x, Salimans & Ho 2022 (arXiv:2202.00512), section 4.
at::Tensor get_velocity(const NoiseScheduler& scheduler, const at::Tensor& sample, const at::Tensor& noise,
                        const std::vector<int64_t>& timesteps);

struct PosteriorResult {
  at::Tensor mean;
  std::vector<float> variance;  // one per timestep
};

/// q(x_s | x_t, x_0), DDPM eqs. 6 and 7, for one jump or one per sample; an empty prev_timesteps is the scheduler's rule.
PosteriorResult posterior(const NoiseScheduler& scheduler, const at::Tensor& sample, const at::Tensor& original,
                          const std::vector<int64_t>& timesteps, const std::vector<int64_t>& prev_timesteps);

}  // namespace nd
