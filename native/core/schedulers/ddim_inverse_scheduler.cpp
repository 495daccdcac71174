#include "core/schedulers/ddim_inverse_scheduler.h"

#include <algorithm>

#include "core/errors.h"
#include "core/schedulers/step_coefficients.h"

namespace nd {

DDIMInverseScheduler::DDIMInverseScheduler(SchedulerConfig config) : NoiseScheduler(std::move(config)) {
  const auto spacing = config_.timestep_spacing;
  if (spacing != TimestepSpacing::leading && spacing != TimestepSpacing::trailing) {
    fail(ErrorCode::config, "timestepSpacing of DDIMInverseScheduler must be 'leading' or 'trailing'");
  }
  std::reverse(timesteps_.begin(), timesteps_.end());
}

int64_t DDIMInverseScheduler::previous_timestep(int64_t t, const char* instead) const {
  return custom_timesteps_ ? next_in_list(t, instead) : stride_before(t, instead);
}

float DDIMInverseScheduler::final_alpha_cumprod() const {
  return config_.set_alpha_to_one ? 1.0f : schedule_.alphas_cumprod.front();
}

StepRow DDIMInverseScheduler::row(int64_t t, int64_t s, double, bool) const {
  return ddim_row(config_, alpha(s), alpha(t), 0.0, false);
}

void DDIMInverseScheduler::check_jump(int64_t, int64_t s, double) const {
  if (s < -1 || s >= config_.num_train_timesteps) {
    fail(ErrorCode::timestep, "sourceTimestep must be an integer in -1 … ", config_.num_train_timesteps - 1, ", got ", s);
  }
}

}  // namespace nd
