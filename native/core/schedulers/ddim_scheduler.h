#pragma once

#include "core/schedulers/noise_scheduler.h"

namespace nd {

/// Denoising Diffusion Implicit Models, Song et al. 2021 (arXiv:2010.02502): a jump from any t to any s.
class DDIMScheduler final : public NoiseScheduler {
 public:
  explicit DDIMScheduler(SchedulerConfig config) : NoiseScheduler(std::move(config)) {}

  int64_t previous_timestep(int64_t t, const char* instead) const override;
  float final_alpha_cumprod() const override;
  StepRow row(int64_t t, int64_t s, double eta, bool use_clipped_model_output) const override;
  bool draws_noise(int64_t, double eta) const override { return eta > 0; }
  bool drops_learned_variance() const override { return true; }

 protected:
  void check_jump(int64_t t, int64_t s, double eta) const override;
};

}  // namespace nd
