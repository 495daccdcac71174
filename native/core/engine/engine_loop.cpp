#include <ATen/Parallel.h>

#include <algorithm>

#include "core/engine/sampler_engine.h"
#include "core/engine/thread_share.h"
#include "core/errors.h"
#include "core/out_of_memory.h"

/// What SamplerEngine's own thread does.
namespace nd {
namespace {

double seconds_between(EngineClock::time_point from, EngineClock::time_point to) {
  return std::chrono::duration<double>(to - from).count();
}

std::exception_ptr error_of(ErrorCode code, const char* message) { return std::make_exception_ptr(Error(code, message)); }

}  // namespace

void SamplerEngine::loop() {
  // libtorch, and this library's copy of its inline functions, set a thread's number once when they meet it: before ours.
  at::get_num_threads();
  at::internal::lazy_init_num_threads();
  runner_.enter_thread();
  while (take_in()) {
    expire();
    announce_room();  // where requests that were cancelled or late gave theirs up
    run_step();
    if (policy_.empty()) come_to_rest();
    warm_up_some();
    count_busy();  // before anyone hears of what was done in it
    tell();
    count_busy();
  }
  end_all();
  runner_.leave_thread();  // a device may have to be waited for
  events_.push_back({.kind = EngineEvent::Kind::closed});
  tell();
}

void SamplerEngine::count_busy() {
  const auto now = EngineClock::now();
  const std::lock_guard lock(mutex_);
  meter_.busy(seconds_between(counted_, now) - not_busy_);
  counted_ = now;
  not_busy_ = 0;
}

/// Waits for something to do and takes what was handed in; false where the engine is to end.
bool SamplerEngine::take_in() {
  Inbox inbox;
  bool closing;
  {
    std::unique_lock lock(mutex_);
    const auto called = [this] { return closing_ || !policy_.empty() || !warm_ups_.empty() || !inbox_.empty(); };
    if (!wake_.wait_for(lock, kTeamPatience, called)) {
      lock.unlock();
      end_idle_team();
      lock.lock();
      wake_.wait(lock, called);
    }
    std::swap(inbox, inbox_);
    closing = closing_;  // with the inbox: nothing comes into it afterwards
    counted_ = EngineClock::now();
    not_busy_ = 0;
  }
  for (auto& request : inbox.requests) {
    const auto& asked = request->asked;
    policy_.add(request->id, runner_.admit(*request), asked.priority);
    if (asked.deadline) deadlines_.emplace(*asked.deadline, request->id);
    requests_.emplace(request->id, std::move(request));
  }
  for (const auto id : inbox.cancelled) fail_request(id, error_of(ErrorCode::aborted, "the request was cancelled"));
  for (auto& warm_up : inbox.warm_ups) warm_ups_.add(std::move(warm_up));
  return !closing;
}

void SamplerEngine::expire() {
  const auto now = EngineClock::now();
  while (!deadlines_.empty() && deadlines_.begin()->first <= now) {
    fail_request(deadlines_.begin()->second, error_of(ErrorCode::deadline, "the request was not done by its deadline"));
  }
}

void SamplerEngine::warm_up_some() {
  if (warm_ups_.empty()) return;
  come_to_rest();
  const auto start = EngineClock::now();
  const ThreadShare threads(closing_);
  const auto& next = warm_ups_.front();
  const auto key = runner_.trial_key(next.shape, next.guided);
  if (auto ended = warm_ups_.run_one(runner_, policy_, closing_)) events_.push_back(std::move(*ended));
  {
    const std::lock_guard lock(mutex_);
    batch_limit_ = policy_.limit(key) * rows_per_request(key);
  }
  not_busy_ += seconds_between(start, EngineClock::now());
}

void SamplerEngine::run_step() {
  // 1. select
  const auto selected = policy_.select();
  if (selected.ids.empty()) return;
  std::vector<RunningRequest*> batch;
  int64_t beginning = 0;
  for (const auto id : selected.ids) {
    auto& request = *requests_.at(id);
    batch.push_back(&request);
    if (!request.running) ++beginning;
    request.running = true;
  }
  {
    const std::lock_guard lock(mutex_);
    queued_ -= beginning;
    running_ += beginning;
  }
  announce_room();

  // 2. run
  if (!runner_.is_prepared(batch)) deliver();  // which are not to wait while this one is prepared
  std::optional<ThreadShare> threads;
  if (runner_.wants_threads(batch)) {
    threads.emplace(closing_);
    if (!*threads) return;
    not_busy_ += threads->waited();
  } else {
    use_threads(1);  // of the host: a device does the rest
  }
  const auto start = EngineClock::now();
  std::optional<StepTime> took;
  try {
    took = runner_.run(batch, closing_);
  } catch (...) {
    if (closing_) return;  // its requests end with the others
    policy_.lost(selected.key, seconds_between(start, EngineClock::now()));
    if (go_on_with_fewer(selected)) return;
    for (auto* request : batch) request->error = std::current_exception();
  }

  // 3. settle
  const auto requests = std::count_if(batch.begin(), batch.end(), [](const auto* one) { return !one->error; });
  const auto rows = rows_per_request(selected.key);
  deliver();  // what the call before has brought: the device is past it
  std::vector<RunningRequest*> leaving;
  for (auto* request : batch) settle(*request, leaving);
  if (!leaving.empty()) leave(leaving);
  if (took) learn(*took);
  const std::lock_guard lock(mutex_);
  if (requests > 0) meter_.ran(requests, requests * rows, EngineClock::now());
  batch_limit_ = policy_.limit(selected.key) * rows;
}

/// Called with what a step threw: nobody has moved. Where memory ran out, its requests go on in smaller batches.
bool SamplerEngine::go_on_with_fewer(const BatchPolicy::Batch& batch) {
  // Padded batches are of one size however few are in them.
  if (batch.ids.size() == 1 || options_.pad_batches || !ran_out_of_memory(std::current_exception())) return false;
  policy_.allow_at_most(batch.key, static_cast<int64_t>(batch.ids.size()) / 2);
  return true;
}

void SamplerEngine::learn(const StepTime& took) {
  policy_.ran(took.key, took.samples, took.seconds);
  const std::lock_guard lock(mutex_);
  meter_.took(took.seconds);
}

/// Waits for what is under way. Whoever needs none of it hears first.
void SamplerEngine::come_to_rest() {
  if (!leaving_) {
    count_busy();
    tell();
  }
  deliver();
  try {
    if (const auto took = runner_.finish()) learn(*took);
  } catch (...) {  // a device that was lost: who waited for it has been told
  }
}

void SamplerEngine::settle(RunningRequest& request, std::vector<RunningRequest*>& leaving) {
  try {
    if (request.error) std::rethrow_exception(request.error);
    if (request.asked.reports_steps) report_step(request);
    if (!request.done()) return;
    if (request.on_device) {
      leaving.push_back(&request);
    } else {
      finish(request, output_of(request.x, request.asked.output));
    }
  } catch (...) {
    fail_request(request.id, std::current_exception());
  }
}

void SamplerEngine::report_step(const RunningRequest& request) {
  const auto& steps = request.asked.plan->steps;
  events_.push_back({.kind = EngineEvent::Kind::step,
                     .id = request.id,
                     .step = static_cast<int64_t>(request.step),
                     .total_steps = static_cast<int64_t>(steps.size()),
                     .timestep = steps[request.step - 1].timestep,
                     .output = request.x0.defined() ? output_of(request.x0, request.asked.output) : at::Tensor()});
}

/// Their last step is under way: they run no further, and are done when it is.
void SamplerEngine::leave(const std::vector<RunningRequest*>& requests) {
  for (const auto* request : requests) leave_lists(*request);
  try {
    leaving_ = std::make_unique<Outputs>(requests);
  } catch (...) {
    for (const auto* request : requests) fail_request(request->id, std::current_exception());
  }
}

void SamplerEngine::deliver() {
  const auto outputs = std::exchange(leaving_, nullptr);
  if (!outputs) return;
  outputs->land([this](uint64_t id, const at::Tensor& output, const std::exception_ptr& error) {
    const auto found = requests_.find(id);
    if (found == requests_.end()) return;  // it was cancelled meanwhile
    if (error) {
      fail_request(id, error);
    } else {
      finish(*found->second, output);
    }
  });
}

void SamplerEngine::finish(const RunningRequest& request, at::Tensor output) {
  EngineEvent event{.kind = EngineEvent::Kind::done, .id = request.id, .output = std::move(output)};
  const auto now = EngineClock::now();
  event.milliseconds = 1e3 * seconds_between(request.submitted, now);
  {
    const std::lock_guard lock(mutex_);
    meter_.done(event.milliseconds, now);
  }
  events_.push_back(std::move(event));
  forget(request);
}

void SamplerEngine::fail_request(uint64_t id, std::exception_ptr error) {
  const auto found = requests_.find(id);
  if (found == requests_.end()) return;
  const double milliseconds = 1e3 * seconds_between(found->second->submitted, EngineClock::now());
  events_.push_back({.kind = EngineEvent::Kind::failed, .id = id, .error = std::move(error), .milliseconds = milliseconds});
  {
    const std::lock_guard lock(mutex_);
    meter_.failed();
  }
  forget(*found->second);
}

/// Nothing makes it run, or end for being late.
void SamplerEngine::leave_lists(const RunningRequest& request) {
  policy_.remove(request.id);
  if (request.asked.deadline) deadlines_.erase({*request.asked.deadline, request.id});
}

void SamplerEngine::forget(const RunningRequest& request) {
  leave_lists(request);
  {
    const std::lock_guard lock(mutex_);
    --(request.running ? running_ : queued_);
    if (queued_ + running_ == 0) idle_.notify_all();
  }
  requests_.erase(request.id);
}

/// Before the step, which may take long.
void SamplerEngine::announce_room() {
  {
    const std::lock_guard lock(mutex_);
    if (!refused_ || queued_ >= options_.max_queue) return;
    refused_ = false;
  }
  events_.push_back({.kind = EngineEvent::Kind::room});
  tell();
}

void SamplerEngine::end_all() {
  deliver();
  const auto closed = error_of(ErrorCode::closed, "the engine was closed");
  while (!requests_.empty()) fail_request(requests_.begin()->first, closed);
  warm_ups_.fail_all(closed, events_);
}

void SamplerEngine::tell() {
  if (events_.empty()) return;
  listener_(std::move(events_));
  events_.clear();
}

}  // namespace nd
