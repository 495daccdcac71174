#include "core/schedulers/noise_scheduler.h"

#include <algorithm>
#include <cmath>
#include <string>

#include "core/errors.h"
#include "core/schedulers/ddim_inverse_scheduler.h"
#include "core/schedulers/ddim_scheduler.h"
#include "core/schedulers/ddpm_scheduler.h"
#include "core/schedulers/timestep_spacing.h"

namespace nd {
namespace {

template <typename T>
const T& at_sample(const std::vector<T>& values, int64_t i) {
  return values.size() == 1 ? values.front() : values[i];
}

template <typename T>
void check_length(const std::vector<T>& values, int64_t batch, const char* name) {
  if (values.size() != 1 && static_cast<int64_t>(values.size()) != batch) {
    fail(ErrorCode::argument, name, " must be one value or one per sample (", batch, "), got ", values.size());
  }
}

}  // namespace

NoiseScheduler::NoiseScheduler(SchedulerConfig config)
    : config_(std::move(config)), schedule_(make_noise_schedule(config_)) {
  // Until set_timesteps, the list is every timestep, T − 1 … 0.
  timesteps_.resize(config_.num_train_timesteps);
  for (int64_t i = 0; i < config_.num_train_timesteps; ++i) timesteps_[i] = config_.num_train_timesteps - 1 - i;
}

void NoiseScheduler::set_timesteps(int64_t n) {
  auto list = spaced_timesteps(config_.timestep_spacing, config_.num_train_timesteps, n, config_.steps_offset);
  if (ascending()) std::reverse(list.begin(), list.end());
  timesteps_ = std::move(list);
  num_inference_steps_ = n;
  custom_timesteps_ = false;
}

void NoiseScheduler::set_timesteps(std::vector<int64_t> timesteps) {
  check_custom_timesteps(timesteps, config_.num_train_timesteps, ascending());
  timesteps_ = std::move(timesteps);
  num_inference_steps_ = static_cast<int64_t>(timesteps_.size());
  custom_timesteps_ = true;
}

std::vector<StepRow> NoiseScheduler::rows(const JumpOptions& options, int64_t batch) const {
  check_length(options.timesteps, batch, "timestep");
  check_length(options.eta, batch, "eta");
  if (!options.prev_timesteps.empty()) check_length(options.prev_timesteps, batch, other_end());
  std::vector<StepRow> rows;
  rows.reserve(batch);
  for (int64_t i = 0; i < batch; ++i) {
    const auto t = at_sample(options.timesteps, i);
    const auto eta = at_sample(options.eta, i);
    check_timestep(t, "timestep");
    if (!(eta >= 0) || !std::isfinite(eta)) fail(ErrorCode::argument, "eta must be a finite number ≥ 0, got ", eta);
    const auto s = options.prev_timesteps.empty() ? previous_timestep(t, other_end()) : at_sample(options.prev_timesteps, i);
    check_jump(t, s, eta);
    rows.push_back(row(t, s, eta, options.use_clipped_model_output));
  }
  return rows;
}

std::vector<Posterior> NoiseScheduler::posteriors(const std::vector<int64_t>& timesteps,
                                                  const std::vector<int64_t>& prev_timesteps, int64_t batch) const {
  check_length(timesteps, batch, "timestep");
  if (!prev_timesteps.empty()) check_length(prev_timesteps, batch, "prevTimestep");
  std::vector<Posterior> jumps;
  for (size_t i = 0; i < std::max(timesteps.size(), prev_timesteps.size()); ++i) {
    const auto t = at_sample(timesteps, static_cast<int64_t>(i));
    check_timestep(t, "timestep");
    const auto s = prev_timesteps.empty() ? previous_timestep(t, "prevTimestep") : at_sample(prev_timesteps, static_cast<int64_t>(i));
    if (s < -1 || s >= t) {
      fail(ErrorCode::timestep, "prevTimestep must be an integer in -1 … timestep − 1 = ", t - 1, ", got ", s);
    }
    const auto jump = posterior(alpha(t), alpha(s));
    if (!std::isfinite(jump.c_x0) || !std::isfinite(jump.c_xt) || !std::isfinite(jump.variance)) {
      fail(ErrorCode::config, "the betas give no finite posterior from timestep ", t, " to ", s, ": 1 − ᾱ_t or ᾱ_s is 0");
    }
    jumps.push_back(jump);
  }
  return jumps;
}

void NoiseScheduler::check_timestep(int64_t t, const char* name) const {
  if (t < 0 || t >= config_.num_train_timesteps) {
    fail(ErrorCode::timestep, name, " must be an integer in 0 … ", config_.num_train_timesteps - 1, ", got ", t);
  }
}

int64_t NoiseScheduler::stride_before(int64_t t, const char* instead) const {
  require_timesteps_set(instead);
  return std::max<int64_t>(-1, t - config_.num_train_timesteps / *num_inference_steps_);
}

int64_t NoiseScheduler::next_in_list(int64_t t, const char* instead) const {
  require_timesteps_set(instead);
  const auto found = std::find(timesteps_.begin(), timesteps_.end(), t);
  if (found == timesteps_.end()) {
    const std::string hint = instead == nullptr ? "" : std::string(" (or ") + instead + " given)";
    fail(ErrorCode::timestep, "timestep must be one of the schedule's timesteps", hint, ", got ", t);
  }
  if (ascending()) return found == timesteps_.begin() ? -1 : *(found - 1);
  return found + 1 == timesteps_.end() ? -1 : *(found + 1);
}

void NoiseScheduler::require_timesteps_set(const char* instead) const {
  if (num_inference_steps_) return;
  const std::string wanted = instead == nullptr ? "setTimesteps must be called first"
                                                : std::string(instead) + " must be given, or setTimesteps called first";
  fail(ErrorCode::timestep, wanted, ": numInferenceSteps is null");
}

std::unique_ptr<NoiseScheduler> make_scheduler(SchedulerKind kind, SchedulerConfig config) {
  switch (kind) {
    case SchedulerKind::ddpm: return std::make_unique<DDPMScheduler>(std::move(config));
    case SchedulerKind::ddim: return std::make_unique<DDIMScheduler>(std::move(config));
    case SchedulerKind::ddim_inverse: return std::make_unique<DDIMInverseScheduler>(std::move(config));
  }
  fail(ErrorCode::argument, "an unknown kind of scheduler");
}

}  // namespace nd
