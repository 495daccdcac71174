#pragma once

#include "core/schedulers/noise_scheduler.h"

namespace nd {

/// DDIM run backwards, from the clean sample to noise: the ODE of σ = 0 integrated upwards (section 4.3 of
/// arXiv:2010.02502). A step's `timestep` is its target and the UNet's input; its source lies one entry below.
class DDIMInverseScheduler final : public NoiseScheduler {
 public:
  explicit DDIMInverseScheduler(SchedulerConfig config);

  /// The source of the step to t: t − ⌊T/n⌋, or the entry before t in a custom list.
  int64_t previous_timestep(int64_t t, const char* instead) const override;
  /// ᾱ of the clean sample: diffusers' initial_alpha_cumprod.
  float final_alpha_cumprod() const override;
  /// From s up to t.
  StepRow row(int64_t t, int64_t s, double eta, bool use_clipped_model_output) const override;
  bool draws_noise(int64_t, double) const override { return false; }
  bool drops_learned_variance() const override { return true; }

 protected:
  bool ascending() const override { return true; }
  void check_jump(int64_t t, int64_t s, double eta) const override;
};

}  // namespace nd
