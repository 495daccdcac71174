#pragma once

#include "core/schedulers/noise_scheduler.h"

namespace nd {

/// Denoising Diffusion Probabilistic Models, Ho et al. 2020 (arXiv:2006.11239): ancestral sampling with q(x_s | x_t, x̂_0).
class DDPMScheduler final : public NoiseScheduler {
 public:
  explicit DDPMScheduler(SchedulerConfig config) : NoiseScheduler(std::move(config)) {}

  int64_t previous_timestep(int64_t t, const char* instead) const override;
  StepRow row(int64_t t, int64_t s, double eta, bool use_clipped_model_output) const override;
  bool draws_noise(int64_t t, double) const override { return t > 0; }
  LearnedVariance learned_variance() const override;

 protected:
  void check_jump(int64_t t, int64_t s, double eta) const override;
};

}  // namespace nd
