#pragma once

#include <ATen/ATen.h>
#include <ATen/CPUGeneratorImpl.h>

#include <algorithm>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <stdexcept>
#include <vector>

#include "core/engine/sampler_engine.h"
#include "core/errors.h"
#include "core/sampling/noise_source.h"
#include "core/sampling/scheduler_step.h"

/// Models that are formulas, and who listens to an engine.
namespace nd::test {

using std::chrono::milliseconds;

inline constexpr SampleShape kShape{2, 8, 8};

/// A model that is a formula, ε = sin(3x + t) in plain operators, so that a sample's prediction has the same bits in any batch.
class Formula : public Denoiser {
 public:
  ModelTarget target() const override { return {}; }
  at::Tensor operator()(const at::Tensor& x, const at::Tensor& timesteps, const at::Tensor&,
                        const std::atomic<bool>&) const override {
    return at::sin(3 * x + timesteps.to(at::kFloat).view({-1, 1, 1, 1}));
  }
  at::Tensor on_device(const at::Tensor& x, const at::Tensor& timesteps, const at::Tensor& labels) const override {
    const std::atomic<bool> never = false;
    return (*this)(x, timesteps, labels, never);
  }
  bool takes_on_device(const SampleRequest&) const override { return true; }
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

inline void wait_for_arrival(Gated::Gate& gate, int64_t forward) {
  std::unique_lock lock(gate.mutex);
  gate.moved.wait(lock, [&] { return gate.arrived >= forward; });
}
inline void open_up(Gated::Gate& gate, int64_t forwards = 1 << 30) {
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

inline ErrorCode code_of(const EngineEvent& event) {
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

inline std::shared_ptr<NoiseScheduler> scheduler_of(const Asked& asked) {
  SchedulerConfig config;
  config.thresholding = asked.thresholding;
  std::shared_ptr<NoiseScheduler> scheduler = make_scheduler(asked.kind, config);
  scheduler->set_timesteps(asked.steps);
  return scheduler;
}

inline SampleRequest request_of(const Asked& asked) {
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
inline at::Tensor alone(const Asked& asked) {
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

}  // namespace nd::test
