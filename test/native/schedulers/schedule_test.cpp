#include <algorithm>
#include <cmath>
#include <limits>

#include "check.h"
#include "core/schedulers/noise_schedule.h"
#include "core/schedulers/timestep_spacing.h"

using namespace nd;

namespace {
using List = std::vector<int64_t>;
List spaced(TimestepSpacing spacing, int64_t T, int64_t n, int64_t offset = 0) {
  return spaced_timesteps(spacing, T, n, offset);
}
}  // namespace

TEST("the linear schedule runs from betaStart to betaEnd and ᾱ is the running product of α") {
  const auto s = make_noise_schedule({});
  EXPECT_EQUAL(s.betas.size(), 1000u);
  EXPECT_EQUAL(s.betas.front(), 0.0001f);
  EXPECT_EQUAL(s.betas.back(), 0.02f);
  double product = 1;
  for (size_t t = 0; t < s.betas.size(); ++t) {
    product *= 1.0 - static_cast<double>(s.betas[t]);
    EXPECT_NEAR(s.alphas_cumprod[t], product, 2e-5 * product + 1e-7);
  }
}

TEST("the cosine schedule follows Nichol & Dhariwal's ᾱ(t) and caps β at 0.999") {
  SchedulerConfig config;
  config.beta_schedule = BetaSchedule::squaredcos_cap_v2;
  const auto s = make_noise_schedule(config);
  const auto bar = [](double t) { return std::pow(std::cos((t + 0.008) / 1.008 * M_PI / 2), 2); };
  for (int t : {0, 10, 500, 900}) EXPECT_NEAR(s.alphas_cumprod[t], bar((t + 1) / 1000.0) / bar(0), 1e-5);
  EXPECT_EQUAL(s.betas.back(), 0.999f);
}

TEST("rescaling gives zero terminal SNR and leaves the first ᾱ") {
  SchedulerConfig config;
  const auto plain = make_noise_schedule(config);
  config.rescale_betas_zero_snr = true;
  const auto rescaled = make_noise_schedule(config);
  EXPECT_EQUAL(rescaled.alphas_cumprod.back(), 0.0f);
  EXPECT_NEAR(rescaled.alphas_cumprod.front(), plain.alphas_cumprod.front(), 1e-6f);
}

TEST("configs out of range are refused by key") {
  SchedulerConfig config;
  config.beta_start = std::numeric_limits<double>::quiet_NaN();
  EXPECT_ERROR(config, "betaStart must be in [0, 1]", make_noise_schedule(config));
  config = {};
  for (const int64_t T : {0, 1'000'001}) {
    config.num_train_timesteps = T;
    EXPECT_ERROR(config, "numTrainTimesteps", make_noise_schedule(config));
  }
  config = {};
  for (const int64_t offset : {-1, 1'000'000}) {
    config.steps_offset = offset;
    EXPECT_ERROR(config, "stepsOffset", make_noise_schedule(config));
  }
  config = {};
  for (const double ratio : {-0.1, 1.1, std::nan("")}) {
    config.dynamic_thresholding_ratio = ratio;
    EXPECT_ERROR(config, "dynamicThresholdingRatio", make_noise_schedule(config));
  }
  config = {};
  config.trained_betas = {0.1, 0.2};
  EXPECT_ERROR(config, "trainedBetas must be of numTrainTimesteps entries", make_noise_schedule(config));
  config.num_train_timesteps = 2;
  for (const double beta : {0.0, 1.5}) {
    config.trained_betas = {0.1, beta};
    EXPECT_ERROR(config, "trainedBetas must be numbers in (0, 1]", make_noise_schedule(config));
  }
  EXPECT_ERROR(config, "betaSchedule must be one of", parse_beta_schedule("quadratic"));
}

TEST("spacings are those of Table 2 of arXiv:2305.08891, and DDIM's quadratic") {
  EXPECT(spaced(TimestepSpacing::leading, 1000, 5, 1) == (List{801, 601, 401, 201, 1}));
  EXPECT(spaced(TimestepSpacing::trailing, 1000, 5) == (List{999, 799, 599, 399, 199}));
  EXPECT(spaced(TimestepSpacing::linspace, 1000, 5) == (List{999, 749, 500, 250, 0}));
  EXPECT(spaced(TimestepSpacing::linspace, 1000, 1) == (List{0}));
  EXPECT(spaced(TimestepSpacing::quadratic, 1000, 5) == (List{800, 450, 200, 50, 0}));
}

TEST("every spacing gives n strictly descending timesteps of [0, T) for every n") {
  for (const auto spacing : {TimestepSpacing::leading, TimestepSpacing::trailing, TimestepSpacing::linspace, TimestepSpacing::quadratic}) {
    for (int64_t T : {1, 2, 7, 50, 128}) {
      for (int64_t n = 1; n <= T; ++n) {
        const auto list = spaced(spacing, T, n);
        EXPECT_EQUAL(static_cast<int64_t>(list.size()), n);
        EXPECT(std::is_sorted(list.rbegin(), list.rend()) && std::adjacent_find(list.begin(), list.end()) == list.end());
        EXPECT(list.back() >= 0 && list.front() < T);
      }
    }
  }
}

TEST("bad step counts and lists are ERR_TIMESTEP") {
  EXPECT_ERROR(timestep, "numInferenceSteps must be an integer in 1 … 10", spaced(TimestepSpacing::leading, 10, 0));
  EXPECT_ERROR(timestep, "got 11", spaced(TimestepSpacing::leading, 10, 11));
  EXPECT_ERROR(timestep, "stepsOffset 1", spaced(TimestepSpacing::leading, 10, 10, 1));
  EXPECT_ERROR(timestep, "must not be empty", check_custom_timesteps({}, 10, false));
  EXPECT_ERROR(timestep, "strictly descending", check_custom_timesteps({5, 5}, 10, false));
  EXPECT_ERROR(timestep, "strictly ascending", check_custom_timesteps({5, 4}, 10, true));
  EXPECT_ERROR(timestep, "got 10 at index 0", check_custom_timesteps({10, 4}, 10, false));
}
