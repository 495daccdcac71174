#include "core/engine/sampler_engine.h"

#include "core/errors.h"
#include "core/thread_budget.h"

namespace nd {

SamplerEngine::SamplerEngine(std::unique_ptr<const Denoiser> denoiser, Options options, Listener listener)
    : options_(options), runner_(std::move(denoiser), options.pad_batches ? options.max_batch : 1),
      listener_(std::move(listener)), policy_(options.max_batch), meter_(EngineClock::now()),
      batch_limit_(options.max_batch), thread_([this] { loop(); }) {}

SamplerEngine::~SamplerEngine() {
  close();
  thread_.join();
}

void SamplerEngine::check_open() const {
  if (closing_) fail(ErrorCode::closed, "this engine was closed");
}

uint64_t SamplerEngine::submit(SampleRequest asked) {
  std::unique_lock lock(mutex_);
  check_open();
  if (queued_ >= options_.max_queue) {
    refused_ = true;
    fail(ErrorCode::queue_full, "the queue holds maxQueue = ", options_.max_queue, " requests that have not begun");
  }
  const auto id = next_id_++;
  inbox_.requests.push_back(std::make_unique<RunningRequest>(RunningRequest{id, std::move(asked), EngineClock::now()}));
  ++queued_;
  lock.unlock();
  wake_.notify_one();
  return id;
}

void SamplerEngine::cancel(uint64_t id) {
  {
    const std::lock_guard lock(mutex_);
    inbox_.cancelled.push_back(id);
  }
  wake_.notify_one();
}

uint64_t SamplerEngine::warm_up(SampleShape shape, std::vector<int64_t> batch_sizes, bool guided) {
  std::unique_lock lock(mutex_);
  check_open();
  const auto id = next_id_++;
  inbox_.warm_ups.push_back({id, shape, guided, std::move(batch_sizes)});
  lock.unlock();
  wake_.notify_one();
  return id;
}

EngineStats SamplerEngine::stats() const {
  const std::lock_guard lock(mutex_);
  auto stats = meter_.read(EngineClock::now());
  stats.queued = queued_;
  stats.running = running_;
  stats.max_batch = options_.max_batch;
  stats.batch_limit = batch_limit_;
  return stats;
}

void SamplerEngine::drain() {
  std::unique_lock lock(mutex_);
  idle_.wait(lock, [this] { return queued_ + running_ == 0; });
}

void SamplerEngine::close() {
  {
    const std::lock_guard lock(mutex_);
    closing_ = true;
  }
  wake_.notify_one();
  ThreadBudget::process().wake();
}

}  // namespace nd
