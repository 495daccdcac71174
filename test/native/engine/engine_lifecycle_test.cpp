#include <thread>

#include "check.h"
#include "engine/engine_helpers.h"

using namespace nd;
using namespace nd::test;

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
  open_up(*gate, 1);
  wait_for_arrival(*gate, 2);
  EXPECT_EQUAL(listener.count(EngineEvent::Kind::room), int64_t{0});  // the queue is as full as before
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

TEST("a warm-up measures, and caps the batch") {
  class Dear final : public Formula {  // the more so the more samples there are
    at::Tensor operator()(const at::Tensor& x, const at::Tensor& timesteps, const at::Tensor& labels,
                          const std::atomic<bool>& cancelled) const override {
      std::this_thread::sleep_for(milliseconds(2 * x.size(0) * x.size(0)));
      return Formula::operator()(x, timesteps, labels, cancelled);
    }
  };
  Listener listener;
  SamplerEngine engine(std::make_unique<Dear>(), {.max_batch = 8}, listener.function());
  EXPECT_EQUAL(engine.stats().batch_limit, int64_t{8});
  EXPECT(listener.end_of(engine.warm_up(kShape, {1, 2, 8})).kind == EngineEvent::Kind::warmed);
  const auto stats = engine.stats();
  EXPECT_EQUAL(stats.batch_limit, int64_t{1});
  EXPECT_EQUAL(stats.steps, int64_t{0});
}

TEST("a warm-up that fails at one size ends with its error, and the next begins") {
  class Small final : public Formula {
    at::Tensor operator()(const at::Tensor& x, const at::Tensor& timesteps, const at::Tensor& labels,
                          const std::atomic<bool>& cancelled) const override {
      if (x.size(0) > 2) fail(ErrorCode::op, "too many");
      return Formula::operator()(x, timesteps, labels, cancelled);
    }
  };
  Listener listener;
  SamplerEngine engine(std::make_unique<Small>(), {}, listener.function());
  const auto failing = engine.warm_up(kShape, {1, 4, 2}), other = engine.warm_up(kShape, {2});
  const auto event = listener.end_of(failing);
  EXPECT(event.kind == EngineEvent::Kind::failed);
  EXPECT(code_of(event) == ErrorCode::op);
  EXPECT(listener.end_of(other).kind == EngineEvent::Kind::warmed);
}
