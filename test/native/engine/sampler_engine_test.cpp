#include "core/engine/sampler_engine.h"

#include <random>
#include <thread>

#include "check.h"
#include "engine/engine_helpers.h"

using namespace nd;
using namespace nd::test;

namespace {

/// Takes the same time for any batch, so that full ones pay.
class Steady final : public Formula {
 public:
  at::Tensor operator()(const at::Tensor& x, const at::Tensor& timesteps, const at::Tensor& labels,
                        const std::atomic<bool>& cancelled) const override {
    std::this_thread::sleep_for(milliseconds(2));
    return Formula::operator()(x, timesteps, labels, cancelled);
  }
};

}  // namespace

TEST("requests of every kind share batches, each with the bits that it has alone") {
  std::vector<Asked> asked;
  std::mt19937 random(3);
  for (uint64_t seed = 0; seed < 60; ++seed) {
    asked.push_back({.kind = random() % 2 ? SchedulerKind::ddim : SchedulerKind::ddpm,
                     .steps = 1 + static_cast<int64_t>(random() % 12),
                     .seed = seed,
                     .thresholding = random() % 5 == 0,
                     .shape = random() % 3 ? kShape : SampleShape{1, 16, 8}});
    if (asked.back().kind == SchedulerKind::ddim && random() % 2) asked.back().eta = 0.7;
  }
  Listener listener;
  SamplerEngine engine(std::make_unique<Steady>(), {.max_batch = 7}, listener.function());
  std::vector<uint64_t> ids;
  for (const auto& one : asked) ids.push_back(engine.submit(request_of(one)));
  for (size_t i = 0; i < asked.size(); ++i) {
    const auto event = listener.end_of(ids[i]);
    EXPECT(event.kind == EngineEvent::Kind::done);
    EXPECT(at::equal(event.output, alone(asked[i])));
    EXPECT(event.milliseconds >= 2.0 * static_cast<double>(asked[i].steps));
    EXPECT(listener.steps_of(ids[i]).empty());  // which none has asked for
  }
  const auto stats = engine.stats();
  EXPECT_EQUAL(stats.images, int64_t{60});
  EXPECT_EQUAL(stats.queued, int64_t{0});
  EXPECT_EQUAL(stats.running, int64_t{0});
  EXPECT(stats.steps < stats.sample_steps / 3);
  EXPECT(stats.p50 > 0 && stats.p99 >= stats.p50);
}

TEST("Philox: the same image whatever the neighbours, another one for another seed") {
  Listener listener;
  SamplerEngine engine(std::make_unique<Formula>(), {.max_batch = 4}, listener.function());
  const Asked asked{.kind = SchedulerKind::ddpm, .steps = 9, .seed = 5, .philox = true};
  const auto first = listener.end_of(engine.submit(request_of(asked))).output;
  std::vector<uint64_t> ids;
  for (int i = 0; i < 6; ++i) {
    auto other = asked;
    if (i != 3) other.seed = 100 + static_cast<uint64_t>(i);
    ids.push_back(engine.submit(request_of(other)));
  }
  for (int i = 0; i < 6; ++i) EXPECT_EQUAL(at::equal(listener.end_of(ids[i]).output, first), i == 3);
}

TEST("a model may answer in another dtype than x's, but not with another number of samples") {
  class Half final : public Formula {
    at::Tensor operator()(const at::Tensor& x, const at::Tensor& timesteps, const at::Tensor& labels,
                          const std::atomic<bool>& cancelled) const override {
      return Formula::operator()(x, timesteps, labels, cancelled).to(at::kHalf);
    }
  };
  class Twice final : public Formula {
    at::Tensor operator()(const at::Tensor& x, const at::Tensor& timesteps, const at::Tensor& labels,
                          const std::atomic<bool>& cancelled) const override {
      return Formula::operator()(x, timesteps, labels, cancelled).repeat({2, 1, 1, 1});
    }
  };
  Listener listener;
  SamplerEngine half(std::make_unique<Half>(), {}, listener.function());
  const auto scheduler = scheduler_of({});
  auto x = randn({1, 2, 8, 8}, {at::detail::createCPUGenerator(0)}, at::kFloat);
  for (const auto t : scheduler->timesteps()) {
    x = scheduler_step(*scheduler, at::sin(3 * x + t).to(at::kHalf), x, {.timesteps = {t}}, {}).prev_sample;
  }
  EXPECT(at::equal(listener.end_of(half.submit(request_of({}))).output, x.squeeze(0)));
  Listener other;
  SamplerEngine twice(std::make_unique<Twice>(), {}, other.function());
  const auto event = other.end_of(twice.submit(request_of({})));
  EXPECT(event.kind == EngineEvent::Kind::failed);
  EXPECT(code_of(event) == ErrorCode::shape);
}

TEST("the samples of a model of doubles are doubles") {
  class Double final : public Formula {
    ModelTarget target() const override { return {at::kCPU, at::kDouble}; }
  };
  Listener listener;
  SamplerEngine engine(std::make_unique<Double>(), {}, listener.function());
  const auto scheduler = scheduler_of({});
  auto x = randn({1, 2, 8, 8}, {at::detail::createCPUGenerator(0)}, at::kDouble);
  for (const auto t : scheduler->timesteps()) {
    x = scheduler_step(*scheduler, at::sin(3 * x + t), x, {.timesteps = {t}}, {}).prev_sample;
  }
  EXPECT(at::equal(listener.end_of(engine.submit(request_of({}))).output, x.squeeze(0).to(at::kFloat)));
}

TEST("padded batches are all of one size, and so are trials; the samples have the bits that they have alone") {
  const auto gate = std::make_shared<Gated::Gate>();
  open_up(*gate);
  Listener listener;
  SamplerEngine engine(std::make_unique<Gated>(gate), {.max_batch = 6, .pad_batches = true}, listener.function());
  listener.end_of(engine.warm_up(kShape, {1, 3}));
  for (uint64_t seed = 0; seed < 9; ++seed) {
    const Asked asked{.steps = 2 + static_cast<int64_t>(seed), .eta = 0.5, .seed = seed};
    const auto id = engine.submit(request_of(asked));
    if (seed % 3 == 2) EXPECT(at::equal(listener.end_of(id).output, alone(asked)));
  }
  engine.drain();
  EXPECT(gate->sizes.size() > 8);
  for (const auto size : gate->sizes) EXPECT_EQUAL(size, int64_t{6});
}

TEST("requests join and leave between steps") {
  const auto gate = std::make_shared<Gated::Gate>();
  Listener listener;
  SamplerEngine engine(std::make_unique<Gated>(gate), {.max_batch = 8}, listener.function());
  engine.submit(request_of({.steps = 3}));
  wait_for_arrival(*gate, 1);
  const auto second = engine.submit(request_of({.steps = 1, .seed = 1}));
  open_up(*gate);
  listener.end_of(second);
  engine.drain();
  EXPECT(gate->sizes == (std::vector<int64_t>{1, 2, 1}));
}

TEST("x_T of another shape than the request's is refused") {
  Listener listener;
  SamplerEngine engine(std::make_unique<Formula>(), {}, listener.function());
  auto wrong = request_of({});
  wrong.start = at::zeros({1, 2, 4, 8});
  const auto bad = engine.submit(std::move(wrong)), good = engine.submit(request_of({}));
  EXPECT(code_of(listener.end_of(bad)) == ErrorCode::shape);
  EXPECT(listener.end_of(good).kind == EngineEvent::Kind::done);
}

TEST("a model that throws fails its batch's requests alone") {
  Listener listener;
  SamplerEngine engine(std::make_unique<Picky>(), {.max_batch = 1}, listener.function());
  auto bright = request_of({});
  bright.start = at::full({1, 2, 8, 8}, 99.0f);
  const auto good = engine.submit(request_of({})), bad = engine.submit(std::move(bright)), after = engine.submit(request_of({}));
  EXPECT(listener.end_of(good).kind == EngineEvent::Kind::done);
  const auto event = listener.end_of(bad);
  EXPECT(event.kind == EngineEvent::Kind::failed);
  EXPECT(listener.end_of(after).kind == EngineEvent::Kind::done);
}

TEST("what fails otherwise than by a lack of memory makes no batch smaller") {
  Listener listener;
  SamplerEngine engine(std::make_unique<Picky>(), {.max_batch = 4}, listener.function());
  std::vector<uint64_t> ids;
  for (int i = 0; i < 8; ++i) {
    auto bright = request_of({});
    bright.start = at::full({1, 2, 8, 8}, 99.0f);
    ids.push_back(engine.submit(std::move(bright)));
  }
  for (const auto id : ids) EXPECT(listener.end_of(id).kind == EngineEvent::Kind::failed);
  EXPECT_EQUAL(engine.stats().batch_limit, int64_t{4});
}

TEST("to drain is to wait for what has not begun, too") {
  Listener listener;
  SamplerEngine engine(std::make_unique<Steady>(), {}, listener.function());
  for (int i = 1; i <= 3; ++i) {
    engine.submit(request_of({}));
    engine.drain();
    EXPECT_EQUAL(engine.stats().images, int64_t{i});
  }
}

TEST("what is wrong with one request's own step fails that one alone") {
  Listener listener;
  SamplerEngine engine(std::make_unique<Formula>(), {}, listener.function());
  SchedulerConfig learned;
  learned.variance_type = VarianceType::learned;
  std::shared_ptr<NoiseScheduler> scheduler = make_scheduler(SchedulerKind::ddpm, learned);
  scheduler->set_timesteps(5);
  auto wrong = request_of({});
  wrong.plan = make_plan(scheduler, {});
  const auto good = engine.submit(request_of({.seed = 4})), bad = engine.submit(std::move(wrong));
  EXPECT(code_of(listener.end_of(bad)) == ErrorCode::shape);
  EXPECT(at::equal(listener.end_of(good).output, alone({.seed = 4})));
}

TEST("progress in order, with previews of x0 where they are due") {
  Listener listener;
  SamplerEngine engine(std::make_unique<Formula>(), {}, listener.function());
  auto request = request_of({.steps = 5});
  request.reports_steps = true;
  request.preview_every = 2;
  const auto timesteps = request.plan->scheduler->timesteps();
  const auto id = engine.submit(std::move(request));
  listener.end_of(id);
  const auto steps = listener.steps_of(id);
  EXPECT_EQUAL(steps.size(), size_t{5});
  for (size_t i = 0; i < 5; ++i) {
    EXPECT_EQUAL(steps[i].step, static_cast<int64_t>(i) + 1);
    EXPECT_EQUAL(steps[i].total_steps, int64_t{5});
    EXPECT_EQUAL(steps[i].timestep, timesteps[i]);
    EXPECT_EQUAL(steps[i].output.defined(), i % 2 == 1);
  }
  EXPECT(steps[3].output.sizes() == at::IntArrayRef({2, 8, 8}));
}

TEST("a preview is the step's x0, clipped or thresholded") {
  for (const bool thresholding : {false, true}) {
    const Asked asked{.steps = 4, .seed = 7, .thresholding = thresholding};
    Listener listener;
    SamplerEngine engine(std::make_unique<Formula>(), {}, listener.function());
    auto request = request_of(asked);
    request.reports_steps = true;
    request.preview_every = 1;
    const auto id = engine.submit(std::move(request));
    listener.end_of(id);
    const auto steps = listener.steps_of(id);
    const auto scheduler = scheduler_of(asked);
    auto x = randn({1, 2, 8, 8}, {at::detail::createCPUGenerator(asked.seed)}, at::kFloat);
    for (size_t i = 0; i < steps.size(); ++i) {
      const auto t = scheduler->timesteps()[i];
      const auto step = scheduler_step(*scheduler, at::sin(3 * x + t), x, {.timesteps = {t}}, {}, /*want_x0=*/true);
      EXPECT(at::equal(steps[i].output, step.pred_original_sample.squeeze(0)));
      x = step.prev_sample;
    }
  }
}

TEST("requests with labels and without do not share a batch") {
  const auto gate = std::make_shared<Gated::Gate>();
  Listener listener;
  SamplerEngine engine(std::make_unique<Gated>(gate), {}, listener.function());
  engine.submit(request_of({.steps = 1}));
  wait_for_arrival(*gate, 1);
  std::vector<uint64_t> ids;
  for (int i = 0; i < 6; ++i) {
    auto request = request_of({.steps = 1});
    if (i % 2 == 0) request.class_label = at::zeros({1}, at::kLong);
    if (i == 5) request.class_label = at::zeros({1, 7});
    ids.push_back(engine.submit(std::move(request)));
  }
  open_up(*gate);
  engine.drain();
  auto sizes = gate->sizes;
  std::sort(sizes.begin(), sizes.end());
  EXPECT(sizes == (std::vector<int64_t>{1, 1, 2, 3}));
}

TEST("an image is noised to the first of the timesteps gone through") {
  Listener listener;
  SamplerEngine engine(std::make_unique<Formula>(), {}, listener.function());
  const auto scheduler = scheduler_of({.steps = 10});
  const auto image = at::randn({1, 2, 8, 8}, at::detail::createCPUGenerator(8)).clamp(-1, 1);
  auto request = request_of({.seed = 2});
  request.plan = make_plan(scheduler, {.first_step = 6});
  request.image = image;
  EXPECT_EQUAL(request.plan->steps.size(), size_t{4});
  const auto got = listener.end_of(engine.submit(std::move(request))).output;

  auto generator = at::detail::createCPUGenerator(2);
  const auto& timesteps = scheduler->timesteps();
  auto x = add_noise(*scheduler, image, randn({1, 2, 8, 8}, {generator}, at::kFloat), {timesteps[6]});
  const std::atomic<bool> cancelled = false;
  for (size_t i = 6; i < timesteps.size(); ++i) {
    const auto out = Formula()(x, at::tensor({timesteps[i]}, at::kLong), {}, cancelled);
    x = scheduler_step(*scheduler, out, x, {.timesteps = {timesteps[i]}}, {}).prev_sample;
  }
  EXPECT(at::equal(got, x.squeeze(0)));
}

TEST("the caller's tensors are not written") {
  Listener listener;
  SamplerEngine engine(std::make_unique<Formula>(), {}, listener.function());
  auto request = request_of({});
  const auto start = at::randn({1, 2, 8, 8}), before = start.clone();
  request.start = start;
  listener.end_of(engine.submit(std::move(request)));
  EXPECT(at::equal(start, before));
}
