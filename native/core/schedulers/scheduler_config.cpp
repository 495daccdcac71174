#include "core/schedulers/scheduler_config.h"

#include <array>
#include <limits>
#include <utility>

#include "core/errors.h"

namespace nd {
namespace {

template <typename E, size_t N>
E parse(const char* key, const std::string& name, const std::array<std::pair<const char*, E>, N>& values) {
  std::string wanted;
  for (const auto& [text, value] : values) {
    if (name == text) return value;
    wanted += (wanted.empty() ? "'" : ", '") + std::string(text) + "'";
  }
  fail(ErrorCode::config, key, " must be one of ", wanted, ", got '", name, "'");
}

void require(bool holds, const char* key, const char* wanted, double got) {
  if (!holds) fail(ErrorCode::config, key, " must be ", wanted, ", got ", got);
}

}  // namespace

BetaSchedule parse_beta_schedule(const std::string& name) {
  return parse<BetaSchedule, 5>("betaSchedule", name,
                                {{{"linear", BetaSchedule::linear},
                                  {"scaled_linear", BetaSchedule::scaled_linear},
                                  {"squaredcos_cap_v2", BetaSchedule::squaredcos_cap_v2},
                                  {"sigmoid", BetaSchedule::sigmoid},
                                  {"laplace", BetaSchedule::laplace}}});
}

PredictionType parse_prediction_type(const std::string& name) {
  return parse<PredictionType, 3>("predictionType", name,
                                  {{{"epsilon", PredictionType::epsilon},
                                    {"sample", PredictionType::sample},
                                    {"v_prediction", PredictionType::v_prediction}}});
}

VarianceType parse_variance_type(const std::string& name) {
  return parse<VarianceType, 6>("varianceType", name,
                                {{{"fixed_small", VarianceType::fixed_small},
                                  {"fixed_small_log", VarianceType::fixed_small_log},
                                  {"fixed_large", VarianceType::fixed_large},
                                  {"fixed_large_log", VarianceType::fixed_large_log},
                                  {"learned", VarianceType::learned},
                                  {"learned_range", VarianceType::learned_range}}});
}

TimestepSpacing parse_timestep_spacing(const std::string& name) {
  return parse<TimestepSpacing, 4>("timestepSpacing", name,
                                   {{{"leading", TimestepSpacing::leading},
                                     {"trailing", TimestepSpacing::trailing},
                                     {"linspace", TimestepSpacing::linspace},
                                     {"quadratic", TimestepSpacing::quadratic}}});
}

PreviousTimestepRule parse_previous_timestep_rule(const std::string& name) {
  return parse<PreviousTimestepRule, 2>(
      "previousTimestepRule", name,
      {{{"stride", PreviousTimestepRule::stride}, {"schedule", PreviousTimestepRule::schedule}}});
}

// Every comparison is written so that NaN fails it.
void validate(const SchedulerConfig& c) {
  const auto T = c.num_train_timesteps;
  require(T >= 1 && T <= kMaxTrainTimesteps, "numTrainTimesteps", "an integer in 1 … 1000000", static_cast<double>(T));
  require(c.beta_start >= 0 && c.beta_start <= 1, "betaStart", "in [0, 1]", c.beta_start);
  require(c.beta_end >= 0 && c.beta_end <= 1, "betaEnd", "in [0, 1]", c.beta_end);
  if (!c.trained_betas.empty()) {
    require(static_cast<int64_t>(c.trained_betas.size()) == T, "trainedBetas", "of numTrainTimesteps entries",
            static_cast<double>(c.trained_betas.size()));
    for (double beta : c.trained_betas) require(beta > 0 && beta <= 1, "trainedBetas", "numbers in (0, 1]", beta);
  }
  // As float32, in which the step uses them: 5e-324 is 0 there, and 1e308 is no bound.
  const auto is_bound = [](double value) {
    return value > 0 && value <= std::numeric_limits<float>::max() && static_cast<float>(value) > 0;
  };
  require(is_bound(c.clip_sample_range), "clipSampleRange", "a finite float32 > 0", c.clip_sample_range);
  require(is_bound(c.sample_max_value), "sampleMaxValue", "a finite float32 > 0", c.sample_max_value);
  require(c.dynamic_thresholding_ratio >= 0 && c.dynamic_thresholding_ratio <= 1, "dynamicThresholdingRatio",
          "in [0, 1]", c.dynamic_thresholding_ratio);
  require(c.steps_offset >= 0 && c.steps_offset < kMaxTrainTimesteps, "stepsOffset", "an integer in 0 … 999999",
          static_cast<double>(c.steps_offset));
}

}  // namespace nd
