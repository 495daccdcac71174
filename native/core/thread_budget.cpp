#include "core/thread_budget.h"

#include <ATen/Parallel.h>

#include <algorithm>

#include "core/device.h"

#ifdef _OPENMP
#include <omp.h>
#endif

namespace nd {

ThreadBudget::ThreadBudget() : limit_(available_threads()) {}

ThreadBudget& ThreadBudget::process() {
  // Never destroyed: a worker's environment may end after the statics.
  static auto* budget = new ThreadBudget();
  return *budget;
}

ThreadBudget::Counts ThreadBudget::counts() const {
  std::lock_guard lock(mutex_);
  return {limit_, in_use_, peak_};
}

void ThreadBudget::set_limit(int limit) {
  {
    std::lock_guard lock(mutex_);
    limit_ = limit;
    peak_ = in_use_;
  }
  freed_.notify_all();
}

void ThreadBudget::announce() {
  std::lock_guard lock(mutex_);
  ++jobs_;
}

void ThreadBudget::withdraw(int jobs) {
  std::lock_guard lock(mutex_);
  jobs_ -= jobs;
}

bool ThreadBudget::has_room() const {
  std::lock_guard lock(mutex_);
  return in_use_ < limit_;
}

int ThreadBudget::acquire(int workers, const std::atomic<bool>& stopping) {
  std::unique_lock lock(mutex_);
  const auto ticket = next_ticket_++;
  waiting_.insert(ticket);
  freed_.wait(lock, [&] { return stopping || (*waiting_.begin() == ticket && in_use_ < limit_); });
  waiting_.erase(ticket);
  freed_.notify_all();  // the next one's turn
  if (stopping) return 0;
  const int share = limit_ / std::clamp(jobs_, 1, workers);
  const int threads = std::clamp(share, 1, limit_ - in_use_);
  in_use_ += threads;
  peak_ = std::max(peak_, in_use_);
  return threads;
}

void ThreadBudget::release(int threads) {
  {
    std::lock_guard lock(mutex_);
    in_use_ -= threads;
    --jobs_;
  }
  freed_.notify_all();
}

void ThreadBudget::wake() {
  std::lock_guard lock(mutex_);  // acquire() is either before its look at `stopping`, or waits
  freed_.notify_all();
}

void use_threads(int threads) {
  // libtorch throws oneDNN's primitives away with it, even where nothing changes.
  if (threads != at::get_num_threads()) at::set_num_threads(threads);
}

void end_idle_team() {
#ifdef _OPENMP
  omp_pause_resource_all(omp_pause_soft);
#endif
}

}  // namespace nd
