#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace nd {

enum class BetaSchedule { linear, scaled_linear, squaredcos_cap_v2, sigmoid, laplace };
enum class PredictionType { epsilon, sample, v_prediction };
enum class VarianceType { fixed_small, fixed_small_log, fixed_large, fixed_large_log, learned, learned_range };
enum class TimestepSpacing { leading, trailing, linspace, quadratic };
/// How DDIM finds the timestep after t: diffusers' t − ⌊T/n⌋, or the next entry of its own list.
enum class PreviousTimestepRule { stride, schedule };

/// The union of the three schedulers' configurations, with diffusers 0.40's names and defaults.
struct SchedulerConfig {
  int64_t num_train_timesteps = 1000;
  double beta_start = 0.0001;
  double beta_end = 0.02;
  BetaSchedule beta_schedule = BetaSchedule::linear;
  std::vector<double> trained_betas;  // empty: none
  VarianceType variance_type = VarianceType::fixed_small;  // DDPM
  bool clip_sample = true;
  double clip_sample_range = 1.0;
  bool set_alpha_to_one = true;  // DDIM, DDIMInverse
  int64_t steps_offset = 0;
  PredictionType prediction_type = PredictionType::epsilon;
  bool thresholding = false;
  double dynamic_thresholding_ratio = 0.995;
  double sample_max_value = 1.0;
  TimestepSpacing timestep_spacing = TimestepSpacing::leading;
  bool rescale_betas_zero_snr = false;
  PreviousTimestepRule previous_timestep_rule = PreviousTimestepRule::stride;  // DDIM
};

BetaSchedule parse_beta_schedule(const std::string& name);
PredictionType parse_prediction_type(const std::string& name);
VarianceType parse_variance_type(const std::string& name);
TimestepSpacing parse_timestep_spacing(const std::string& name);
PreviousTimestepRule parse_previous_timestep_rule(const std::string& name);

/// The largest num_train_timesteps: a table of this many floats is what a file from a stranger may cost.
inline constexpr int64_t kMaxTrainTimesteps = 1'000'000;

/// Throws ERR_CONFIG, naming the key, for a value outside its range.
void validate(const SchedulerConfig& config);

}  // namespace nd
