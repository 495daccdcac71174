#include "core/schedulers/ddim_scheduler.h"

#include "core/errors.h"
#include "core/schedulers/step_coefficients.h"

namespace nd {

int64_t DDIMScheduler::previous_timestep(int64_t t, const char* instead) const {
  const bool by_list = custom_timesteps_ || config_.timestep_spacing == TimestepSpacing::quadratic ||
                       config_.previous_timestep_rule == PreviousTimestepRule::schedule;
  return by_list ? next_in_list(t, instead) : stride_before(t, instead);
}

float DDIMScheduler::final_alpha_cumprod() const {
  return config_.set_alpha_to_one ? 1.0f : schedule_.alphas_cumprod.front();
}

StepRow DDIMScheduler::row(int64_t t, int64_t s, double eta, bool use_clipped_model_output) const {
  return ddim_row(config_, alpha(t), alpha(s), eta, use_clipped_model_output);
}

void DDIMScheduler::check_jump(int64_t t, int64_t s, double eta) const {
  if (s < -1 || s >= config_.num_train_timesteps) {
    fail(ErrorCode::timestep, "prevTimestep must be an integer in -1 … ", config_.num_train_timesteps - 1, ", got ", s);
  }
  if (s > t && eta > 0) {
    fail(ErrorCode::timestep, "prevTimestep must not lie above timestep ", t, " unless eta is 0, got ", s, " with eta ", eta);
  }
}

}  // namespace nd
