#include "core/engine/sampler_engine.h"

#include <ATen/ATen.h>
#include <ATen/CPUGeneratorImpl.h>

#include <random>
#include <set>

#include "check.h"
#include "core/sampling/noise_source.h"
#include "core/sampling/scheduler_step.h"

using namespace nd;
using std::chrono::milliseconds;

namespace {

constexpr SampleShape kShape{2, 8, 8};

/// A model that is a formula, ε = sin(3x + t) in plain operators, so that a sample's prediction has the same bits in any batch.
class Formula : public Denoiser {
 public:
  ModelTarget target() const override { return {}; }
  at::Tensor operator()(const at::Tensor& x, const at::Tensor& timesteps, const at::Tensor&,
                        const std::atomic<bool>&) const override {
    return at::sin(3 * x + timesteps.to(at::kFloat).view({-1, 1, 1, 1}));
  }
  at::Tensor trial_labels(int64_t) const override { return {}; }
};

/// Stops at a gate before each forward, and notes the sizes of the batches.
class Gated final : public Formula {
 public:
  struct Gate {
    std::mutex mutex;
    std::condition_variable moved;
    int64_t open = 0, arrived = 0;
    std::vector<int64_t> sizes;
  };
  explicit Gated(std::shared_ptr<Gate> gate) : gate_(std::move(gate)) {}
  at::Tensor operator()(const at::Tensor& x, const at::Tensor& timesteps, const at::Tensor& labels,
                        const std::atomic<bool>& cancelled) const override {
    std::unique_lock lock(gate_->mutex);
    gate_->sizes.push_back(x.size(0));
    ++gate_->arrived;
    gate_->moved.notify_all();
    while (gate_->open < gate_->arrived && !cancelled) gate_->moved.wait_for(lock, milliseconds(1));
    if (cancelled) fail(ErrorCode::aborted, "cancelled");
    return Formula::operator()(x, timesteps, labels, cancelled);
  }

 private:
  std::shared_ptr<Gate> gate_;
};

void wait_for_arrival(Gated::Gate& gate, int64_t forward) {
  std::unique_lock lock(gate.mutex);
  gate.moved.wait(lock, [&] { return gate.arrived >= forward; });
}
void open_up(Gated::Gate& gate, int64_t forwards = 1 << 30) {
  const std::lock_guard lock(gate.mutex);
  gate.open = forwards;
  gate.moved.notify_all();
}

/// Fails for samples that are all above 50.
class Picky final : public Formula {
 public:
  at::Tensor operator()(const at::Tensor& x, const at::Tensor& timesteps, const at::Tensor& labels,
                        const std::atomic<bool>& cancelled) const override {
    if (x.amax().item<float>() > 50) throw std::runtime_error("too bright");
    return Formula::operator()(x, timesteps, labels, cancelled);
  }
};

class Listener {
 public:
  SamplerEngine::Listener function() {
    return [this](std::vector<EngineEvent> events) {
      const std::lock_guard lock(mutex_);
      for (auto& event : events) events_.push_back(std::move(event));
      arrived_.notify_all();
    };
  }
  /// The event that ends a request; waits for it.
  EngineEvent end_of(uint64_t id) {
    std::unique_lock lock(mutex_);
    const EngineEvent* found = nullptr;
    arrived_.wait(lock, [&] { return (found = find(id)) != nullptr; });
    return *found;
  }
  std::vector<EngineEvent> steps_of(uint64_t id) {
    const std::lock_guard lock(mutex_);
    std::vector<EngineEvent> steps;
    for (const auto& event : events_) {
      if (event.id == id && event.kind == EngineEvent::Kind::step) steps.push_back(event);
    }
    return steps;
  }
  int64_t count(EngineEvent::Kind kind) {
    const std::lock_guard lock(mutex_);
    return std::count_if(events_.begin(), events_.end(), [kind](const auto& event) { return event.kind == kind; });
  }

 private:
  const EngineEvent* find(uint64_t id) const {
    for (const auto& event : events_) {
      using enum EngineEvent::Kind;
      if (event.id == id && (event.kind == done || event.kind == failed || event.kind == warmed)) return &event;
    }
    return nullptr;
  }
  std::mutex mutex_;
  std::condition_variable arrived_;
  std::vector<EngineEvent> events_;
};

ErrorCode code_of(const EngineEvent& event) {
  try {
    std::rethrow_exception(event.error);
  } catch (const Error& error) {
    return error.code();
  }
}

struct Asked {
  SchedulerKind kind = SchedulerKind::ddim;
  int64_t steps = 5;
  double eta = 0;
  uint64_t seed = 0;
  bool philox = false;
  bool thresholding = false;
  SampleShape shape = kShape;
};

std::shared_ptr<NoiseScheduler> scheduler_of(const Asked& asked) {
  SchedulerConfig config;
  config.thresholding = asked.thresholding;
  std::shared_ptr<NoiseScheduler> scheduler = make_scheduler(asked.kind, config);
  scheduler->set_timesteps(asked.steps);
  return scheduler;
}

SampleRequest request_of(const Asked& asked) {
  SampleRequest request;
  request.plan = make_plan(scheduler_of(asked), {.eta = asked.eta});
  request.shape = asked.shape;
  if (asked.philox) {
    request.philox_seed = asked.seed;
  } else {
    request.generator = at::detail::createCPUGenerator(asked.seed);
  }
  request.output = SampleOutput::latent;
  return request;
}

/// What the pipelines' loop gives: randn, then scheduler_step with the request's generator.
at::Tensor alone(const Asked& asked) {
  const auto scheduler = scheduler_of(asked);
  auto generator = at::detail::createCPUGenerator(asked.seed);
  auto x = randn({1, asked.shape[0], asked.shape[1], asked.shape[2]}, {generator}, at::kFloat);
  const std::atomic<bool> cancelled = false;
  for (const auto t : scheduler->timesteps()) {
    const auto out = Formula()(x, at::tensor({t}, at::kLong), {}, cancelled);
    x = scheduler_step(*scheduler, out, x, {.timesteps = {t}, .eta = {asked.eta}}, {.generators = {generator}}).prev_sample;
  }
  return x.squeeze(0);
}

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
  SamplerEngine engine(std::make_unique<Formula>(), {.max_batch = 7}, listener.function());
  std::vector<uint64_t> ids;
  for (const auto& one : asked) ids.push_back(engine.submit(request_of(one)));
  for (size_t i = 0; i < asked.size(); ++i) {
    const auto event = listener.end_of(ids[i]);
    EXPECT(event.kind == EngineEvent::Kind::done);
    EXPECT(at::equal(event.output, alone(asked[i])));
  }
  const auto stats = engine.stats();
  EXPECT_EQUAL(stats.images, int64_t{60});
  EXPECT_EQUAL(stats.queued + stats.running, int64_t{0});
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

TEST("a full queue refuses by name, and says when there is room") {
  const auto gate = std::make_shared<Gated::Gate>();
  Listener listener;
  SamplerEngine engine(std::make_unique<Gated>(gate), {.max_batch = 1, .max_queue = 2}, listener.function());
  engine.submit(request_of({}));
  wait_for_arrival(*gate, 1);
  engine.submit(request_of({}));
  engine.submit(request_of({}));
  EXPECT_EQUAL(engine.stats().queued, int64_t{2});
  EXPECT_ERROR(queue_full, "maxQueue = 2", engine.submit(request_of({})));
  EXPECT_EQUAL(listener.count(EngineEvent::Kind::room), int64_t{0});
  open_up(*gate);
  engine.drain();
  EXPECT_EQUAL(listener.count(EngineEvent::Kind::room), int64_t{1});
  engine.submit(request_of({}));
  engine.drain();
}

TEST("cancelled, queued or running: its place is free at the next step, and the others go on") {
  const auto gate = std::make_shared<Gated::Gate>();
  Listener listener;
  SamplerEngine engine(std::make_unique<Gated>(gate), {.max_batch = 2}, listener.function());
  std::vector<uint64_t> ids;
  for (uint64_t seed = 0; seed < 4; ++seed) ids.push_back(engine.submit(request_of({.steps = 4, .seed = seed})));
  wait_for_arrival(*gate, 1);
  engine.cancel(ids[0]);
  engine.cancel(ids[3]);
  engine.cancel(12345);
  open_up(*gate);
  engine.drain();
  for (const auto i : {0, 3}) EXPECT(code_of(listener.end_of(ids[i])) == ErrorCode::aborted);
  for (const uint64_t i : {1, 2}) EXPECT(at::equal(listener.end_of(ids[i]).output, alone({.steps = 4, .seed = i})));
  engine.cancel(ids[1]);
  EXPECT_EQUAL(engine.stats().failed, int64_t{2});
}

TEST("a deadline that passes ends the request, and no other") {
  const auto gate = std::make_shared<Gated::Gate>();
  Listener listener;
  SamplerEngine engine(std::make_unique<Gated>(gate), {}, listener.function());
  auto late = request_of({.steps = 1000}), ample = request_of({.steps = 2});
  late.deadline = EngineClock::now() + milliseconds(5);
  ample.deadline = EngineClock::now() + std::chrono::hours(1);
  const auto first = engine.submit(std::move(late)), second = engine.submit(std::move(ample));
  wait_for_arrival(*gate, 1);
  std::this_thread::sleep_for(milliseconds(10));
  open_up(*gate);
  EXPECT(code_of(listener.end_of(first)) == ErrorCode::deadline);
  EXPECT(listener.end_of(second).kind == EngineEvent::Kind::done);
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

TEST("close ends what is queued and running, in mid-forward too, and refuses more") {
  const auto gate = std::make_shared<Gated::Gate>();
  Listener listener;
  SamplerEngine engine(std::make_unique<Gated>(gate), {.max_batch = 2}, listener.function());
  std::vector<uint64_t> ids;
  for (uint64_t seed = 0; seed < 5; ++seed) ids.push_back(engine.submit(request_of({.seed = seed})));
  wait_for_arrival(*gate, 1);
  engine.close();
  engine.close();
  for (const auto id : ids) EXPECT(code_of(listener.end_of(id)) == ErrorCode::closed);
  engine.drain();
  EXPECT_ERROR(closed, "closed", engine.submit(request_of({})));
  EXPECT_ERROR(closed, "closed", engine.warm_up(kShape, {1}));
}

TEST("close during a warm-up ends it, and what came meanwhile, with ERR_CLOSED") {
  const auto gate = std::make_shared<Gated::Gate>();
  Listener listener;
  SamplerEngine engine(std::make_unique<Gated>(gate), {}, listener.function());
  const auto warm_up = engine.warm_up(kShape, {1, 2, 4}), second = engine.warm_up(kShape, {1});
  wait_for_arrival(*gate, 1);
  const auto request = engine.submit(request_of({}));
  engine.close();
  for (const auto id : {warm_up, second, request}) EXPECT(code_of(listener.end_of(id)) == ErrorCode::closed);
}

TEST("requests go on between the sizes of a warm-up") {
  const auto gate = std::make_shared<Gated::Gate>();
  Listener listener;
  SamplerEngine engine(std::make_unique<Gated>(gate), {.max_batch = 4}, listener.function());
  const auto warm_up = engine.warm_up(kShape, {2, 4});
  wait_for_arrival(*gate, 1);
  engine.submit(request_of({.steps = 1}));
  open_up(*gate);
  listener.end_of(warm_up);
  engine.drain();
  EXPECT(gate->sizes == (std::vector<int64_t>{2, 2, 2, 2, 1, 4, 4, 4, 4}));
}

TEST("room is told of too where the queue's requests expire") {
  const auto gate = std::make_shared<Gated::Gate>();
  Listener listener;
  SamplerEngine engine(std::make_unique<Gated>(gate), {.max_batch = 1, .max_queue = 1}, listener.function());
  const auto running = engine.submit(request_of({.steps = 1}));
  wait_for_arrival(*gate, 1);
  auto late = request_of({});
  late.deadline = EngineClock::now() + milliseconds(5);
  const auto queued = engine.submit(std::move(late));
  EXPECT_ERROR(queue_full, "maxQueue", engine.submit(request_of({})));
  std::this_thread::sleep_for(milliseconds(10));
  open_up(*gate);
  listener.end_of(running);
  EXPECT(code_of(listener.end_of(queued)) == ErrorCode::deadline);
  for (int i = 0; i < 200 && listener.count(EngineEvent::Kind::room) == 0; ++i) std::this_thread::sleep_for(milliseconds(5));
  EXPECT_EQUAL(listener.count(EngineEvent::Kind::room), int64_t{1});
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

TEST("a warm-up measures, and caps the batch") {
  Listener listener;
  SamplerEngine engine(std::make_unique<Formula>(), {.max_batch = 16}, listener.function());
  EXPECT_EQUAL(engine.stats().batch_limit, int64_t{16});
  EXPECT(listener.end_of(engine.warm_up(kShape, {1, 4, 16})).kind == EngineEvent::Kind::warmed);
  const auto stats = engine.stats();
  EXPECT(stats.batch_limit >= 1 && stats.batch_limit <= 16);
  EXPECT_EQUAL(stats.steps, int64_t{0});
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
