#include <ATen/ATen.h>
#include <ATen/CPUGeneratorImpl.h>

#include <limits>

#include "check.h"
#include "core/sampling/scheduler_step.h"

using namespace nd;

namespace {

at::Generator seeded(uint64_t seed) { return at::detail::createCPUGenerator(seed); }

at::Tensor noise(uint64_t seed, at::IntArrayRef shape) { return at::randn(shape, seeded(seed)); }

std::unique_ptr<NoiseScheduler> ddim(bool clip = true) {
  SchedulerConfig config;
  config.clip_sample = clip;
  auto scheduler = make_scheduler(SchedulerKind::ddim, config);
  scheduler->set_timesteps(10);
  return scheduler;
}

}  // namespace

TEST("a sample's result does not depend on its slot or its neighbours, bit for bit") {
  const auto scheduler = ddim();
  const auto x = noise(1, {3, 2, 5, 7}), out = noise(2, {3, 2, 5, 7});
  const JumpOptions jump{.timesteps = {900, 400, 0}, .eta = {0.0, 1.0, 0.3}};
  const auto batch = scheduler_step(*scheduler, out, x, jump, {.generators = {seeded(5), seeded(6), seeded(7)}});
  for (int64_t i = 0; i < 3; ++i) {
    const JumpOptions alone{.timesteps = {jump.timesteps[i]}, .eta = {jump.eta[i]}};
    const auto one = scheduler_step(*scheduler, out.narrow(0, i, 1), x.narrow(0, i, 1), alone, {.generators = {seeded(5 + i)}});
    EXPECT(at::equal(one.prev_sample, batch.prev_sample.narrow(0, i, 1)));
    EXPECT(at::equal(one.pred_original_sample, batch.pred_original_sample.narrow(0, i, 1)));
  }
}

TEST("a generator of a list advances only where its sample draws") {
  const auto scheduler = ddim();
  const auto x = noise(1, {2, 1, 4, 4});
  auto idle = seeded(3), drawing = seeded(4);
  scheduler_step(*scheduler, x, x, {.timesteps = {900}, .eta = {0.0, 1.0}}, {.generators = {idle, drawing}});
  EXPECT(at::equal(at::randn({4}, idle), at::randn({4}, seeded(3))));
  EXPECT(!at::equal(at::randn({4}, drawing), at::randn({4}, seeded(4))));
}

TEST("inputs are not written, and NaN stays NaN through the clip") {
  const auto scheduler = ddim();
  auto x = noise(1, {1, 1, 2, 2}), out = noise(2, {1, 1, 2, 2});
  x.view(-1)[0] = std::numeric_limits<float>::quiet_NaN();
  const auto x_before = x.clone(), out_before = out.clone();
  const auto step = scheduler_step(*scheduler, out, x, {.timesteps = {500}}, {});
  EXPECT(x.view(-1)[0].isnan().item<bool>() && at::equal(x.view(-1).slice(0, 1), x_before.view(-1).slice(0, 1)));
  EXPECT(at::equal(out, out_before));
  EXPECT(step.pred_original_sample.view(-1)[0].isnan().item<bool>());
}

TEST("dynamic thresholding bounds each sample by its own quantile") {
  SchedulerConfig config;
  config.thresholding = true;
  config.sample_max_value = 3.0;
  config.dynamic_thresholding_ratio = 0.5;
  config.prediction_type = PredictionType::sample;
  auto scheduler = make_scheduler(SchedulerKind::ddim, config);
  scheduler->set_timesteps(10);
  const auto out = at::tensor({0.f, 2.f, 4.f, 0.f, 0.1f, 0.2f}).reshape({2, 1, 1, 3});
  const auto x0 = scheduler_step(*scheduler, out, out, {.timesteps = {500}}, {}).pred_original_sample;
  EXPECT(at::allclose(x0.view(-1), at::tensor({0.f, 1.f, 1.f, 0.f, 0.1f, 0.2f})));
}

TEST("wrong tensors are refused by name before anything is drawn") {
  const auto scheduler = ddim();
  const auto x = noise(1, {2, 3, 4, 4});
  const JumpOptions jump{.timesteps = {500}, .eta = {1.0}};
  auto generator = seeded(9);
  const NoiseSource source{.generators = {generator}};
  EXPECT_ERROR(shape, "modelOutput must have the shape of sample [2, 3, 4, 4], got [2, 3, 4, 5]",
               scheduler_step(*scheduler, noise(1, {2, 3, 4, 5}), x, jump, source));
  EXPECT_ERROR(dtype, "sample must have a floating-point dtype, got Long", scheduler_step(*scheduler, x, x.to(at::kLong), jump, source));
  EXPECT_ERROR(argument, "must not both be given", scheduler_step(*scheduler, x, x, jump, {.given = x, .generators = {generator}}));
  EXPECT_ERROR(argument, "one per sample (2), got 3", scheduler_step(*scheduler, x, x, jump, {.generators = {generator, generator, generator}}));
  EXPECT_ERROR(timestep, "timestep must be an integer in 0 … 999, got 1000", scheduler_step(*scheduler, x, x, {.timesteps = {1000}}, source));
  EXPECT(at::equal(at::randn({4}, generator), at::randn({4}, seeded(9))));
}

TEST("DDIM drops a learned variance, DDPM insists on it where configured") {
  const auto x = noise(1, {2, 3, 4, 4}), out = noise(2, {2, 6, 4, 4});
  const auto scheduler = ddim();
  const auto doubled = scheduler_step(*scheduler, out, x, {.timesteps = {500}}, {});
  const auto first_half = scheduler_step(*scheduler, out.narrow(1, 0, 3), x, {.timesteps = {500}}, {});
  EXPECT(at::equal(doubled.prev_sample, first_half.prev_sample));
  SchedulerConfig config;
  config.variance_type = VarianceType::learned;
  const auto learned = make_scheduler(SchedulerKind::ddpm, config);
  EXPECT_ERROR(shape, "twice the channels", scheduler_step(*learned, x, x, {.timesteps = {500}}, {}));
  EXPECT_ERROR(argument, "non-negative", scheduler_step(*learned, out, x, {.timesteps = {500}}, {}));
  auto spoilt = out.abs();
  spoilt[1][4][2][2] = std::numeric_limits<float>::quiet_NaN();
  EXPECT_ERROR(argument, "non-negative", scheduler_step(*learned, spoilt, x, {.timesteps = {500}}, {}));
}

TEST("samples may be numbers") {
  const auto scheduler = ddim();
  const auto x = noise(1, {3}), out = noise(2, {3});
  const auto step = scheduler_step(*scheduler, out, x, {.timesteps = {500}}, {});
  const auto wide = scheduler_step(*scheduler, out.view({3, 1, 1, 1}), x.view({3, 1, 1, 1}), {.timesteps = {500}}, {});
  EXPECT(at::equal(step.prev_sample, wide.prev_sample.view({3})));
}

TEST("a posterior's timesteps are one, or one a sample") {
  const auto scheduler = make_scheduler(SchedulerKind::ddpm, {});
  const auto x = noise(1, {3, 2, 4, 4});
  EXPECT_ERROR(argument, "timestep must be one value or one per sample (3), got 2", posterior(*scheduler, x, x, {5, 6}, {}));
  EXPECT_ERROR(argument, "prevTimestep must be one value or one per sample (3), got 2", posterior(*scheduler, x, x, {5, 6, 7}, {3, 4}));
}

TEST("noise added and then predicted exactly gives the clean sample back") {
  const auto scheduler = ddim(false);
  const auto x0 = noise(1, {2, 3, 4, 4}), eps = noise(2, {2, 3, 4, 4});
  const auto x = add_noise(*scheduler, x0, eps, {999, 10});
  const auto step = scheduler_step(*scheduler, eps, x, {.timesteps = {999, 10}}, {});
  EXPECT(at::allclose(step.pred_original_sample, x0, 1e-4, 1e-4));
}
