#include <cmath>

#include "check.h"
#include "core/schedulers/noise_scheduler.h"
#include "core/schedulers/step_coefficients.h"

using namespace nd;

TEST("the posterior is q(x_s | x_t, x_0): consistent with the forward process it inverts") {
  // Integrating x_t out of q(x_s | x_t, x_0) q(x_t | x_0) must give q(x_s | x_0) = N(√ᾱ_s x_0, 1 − ᾱ_s).
  const auto scheduler = make_scheduler(SchedulerKind::ddpm, {});
  const auto [t, s] = std::pair{700, 350};
  const float alpha_t = scheduler->alpha(t), alpha_s = scheduler->alpha(s);
  const auto p = posterior(alpha_t, alpha_s);
  EXPECT_NEAR(p.c_x0 + p.c_xt * std::sqrt(alpha_t), std::sqrt(alpha_s), 1e-6f);
  EXPECT_NEAR(p.variance + p.c_xt * p.c_xt * (1 - alpha_t), 1 - alpha_s, 1e-6f);
}

TEST("DDIM with η = 1 has DDPM's posterior mean and variance") {
  SchedulerConfig config;
  config.clip_sample = false;
  for (const auto& [t, s] : {std::pair{999, 998}, {500, 499}, {40, 39}, {900, 600}}) {
    const auto scheduler = make_scheduler(SchedulerKind::ddim, config);
    const auto row = scheduler->row(t, s, 1.0, false);
    const auto p = posterior(scheduler->alpha(t), scheduler->alpha(s));
    // Both as linear forms in (x_t, ε): DDIM's x0 is (x_t + q ε)/d.
    EXPECT_NEAR(row.c_x0 * row.p / row.d + row.c_xt, p.c_x0 * row.p / row.d + p.c_xt, 2e-5f);
    EXPECT_NEAR(row.c_x0 * row.q / row.d + row.c_out, p.c_x0 * row.q / row.d, 2e-5f);
    EXPECT_NEAR(row.sigma * row.sigma, p.variance, 1e-5f * p.variance + 1e-9f);
  }
}

TEST("a step to the clean sample with η = 0 is x0 itself") {
  const auto row = make_scheduler(SchedulerKind::ddim, {})->row(99, -1, 0.0, false);
  EXPECT_EQUAL(row.c_x0, 1.0f);
  EXPECT_EQUAL(row.c_xt, 0.0f);
  EXPECT_EQUAL(row.c_out, 0.0f);
  EXPECT_EQUAL(row.sigma, 0.0f);
}

TEST("fixed_large_log is √β_t, and the fixed variances are ordered") {
  SchedulerConfig config;
  const auto sigma = [&](VarianceType type) {
    config.variance_type = type;
    return ddpm_row(config, 0.5f, 0.51f, true).sigma;
  };
  const float beta = 1 - 0.5f / 0.51f;
  EXPECT_NEAR(sigma(VarianceType::fixed_large_log), std::sqrt(beta), 1e-7f);
  EXPECT_EQUAL(sigma(VarianceType::fixed_large), sigma(VarianceType::fixed_large_log));
  EXPECT_NEAR(sigma(VarianceType::fixed_small_log), sigma(VarianceType::fixed_small), 1e-6f);
  EXPECT(sigma(VarianceType::fixed_small) < sigma(VarianceType::fixed_large));
}

TEST("coefficients that are not finite are refused, and a bound rescues ᾱ_t = 0") {
  SchedulerConfig config;
  EXPECT_ERROR(config, "no finite step", ddpm_row(config, 1.0f, 1.0f, true));
  config.clip_sample = false;
  EXPECT_ERROR(config, "clipSample or thresholding must be true", ddim_row(config, 0.0f, 0.5f, 0, false));
  config.clip_sample = true;
  EXPECT_EQUAL(ddim_row(config, 0.0f, 0.5f, 0, false).d, 0.0f);
  EXPECT_ERROR(config, "eta must leave", ddim_row(config, 0.3f, 0.5f, 3.0, false));
  // Where ᾱ_t = 1 there is no ε, and none is needed on the way to the clean sample.
  config.prediction_type = PredictionType::sample;
  EXPECT_EQUAL(ddim_row(config, 1.0f, 1.0f, 0, false).c_x0, 1.0f);
}

TEST("jumps are checked by each scheduler's own rule") {
  auto ddpm = make_scheduler(SchedulerKind::ddpm, {});
  EXPECT_EQUAL(ddpm->previous_timestep(7), 6);
  JumpOptions up{.timesteps = {5}, .prev_timesteps = {9}, .eta = {0.0}};
  EXPECT_ERROR(timestep, "prevTimestep", ddpm->rows(up, 1));
  auto ddim = make_scheduler(SchedulerKind::ddim, {});
  EXPECT_EQUAL(ddim->rows(up, 1).size(), 1u);  // η = 0 encodes
  up.eta = {0.5};
  EXPECT_ERROR(timestep, "unless eta is 0", ddim->rows(up, 1));
  EXPECT_ERROR(timestep, "setTimesteps", ddim->rows({.timesteps = {5}}, 1));
  EXPECT_ERROR(argument, "timestep must be one value or one per sample (3), got 2", ddim->rows({.timesteps = {5, 6}}, 3));
  for (const double eta : {-1.0, std::nan(""), HUGE_VAL}) {
    EXPECT_ERROR(argument, "eta must be a finite number", ddim->rows({.timesteps = {5}, .prev_timesteps = {1}, .eta = {eta}}, 1));
  }
  SchedulerConfig linspace;
  linspace.timestep_spacing = TimestepSpacing::linspace;
  EXPECT_ERROR(config, "'leading' or 'trailing'", make_scheduler(SchedulerKind::ddim_inverse, linspace));
}

TEST("the stride and the schedule rule differ where the list is no stride") {
  SchedulerConfig config;
  config.timestep_spacing = TimestepSpacing::linspace;
  auto stride = make_scheduler(SchedulerKind::ddim, config);
  stride->set_timesteps(5);  // 999 749 500 250 0
  EXPECT_EQUAL(stride->previous_timestep(999), 799);
  config.previous_timestep_rule = PreviousTimestepRule::schedule;
  auto schedule = make_scheduler(SchedulerKind::ddim, config);
  schedule->set_timesteps(5);
  EXPECT_EQUAL(schedule->previous_timestep(999), 749);
  EXPECT_EQUAL(schedule->previous_timestep(0), -1);
  EXPECT_ERROR(timestep, "one of the schedule's timesteps", schedule->previous_timestep(700));
}
