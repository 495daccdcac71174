#include "core/schedulers/ddpm_scheduler.h"

#include "core/errors.h"
#include "core/schedulers/step_coefficients.h"

namespace nd {

int64_t DDPMScheduler::previous_timestep(int64_t t, const char* instead) const {
  return num_inference_steps_ ? next_in_list(t, instead) : t - 1;
}

StepRow DDPMScheduler::row(int64_t t, int64_t s, double, bool) const {
  return ddpm_row(config_, alpha(t), alpha(s), t > 0);
}

LearnedVariance DDPMScheduler::learned_variance() const {
  switch (config_.variance_type) {
    case VarianceType::learned: return LearnedVariance::direct;
    case VarianceType::learned_range: return LearnedVariance::range;
    default: return LearnedVariance::none;
  }
}

void DDPMScheduler::check_jump(int64_t t, int64_t s, double) const {
  if (s < -1 || s >= t) fail(ErrorCode::timestep, "prevTimestep must be an integer in -1 … timestep − 1 = ", t - 1, ", got ", s);
}

}  // namespace nd
