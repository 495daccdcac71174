#pragma once

#include <atomic>
#include <chrono>

#include "core/thread_budget.h"

namespace nd {

/// This thread's share of the process's threads, for one step; none where `stopping` turned true before there was one.
class ThreadShare {
 public:
  explicit ThreadShare(const std::atomic<bool>& stopping) {
    const auto asked = std::chrono::steady_clock::now();
    auto& budget = ThreadBudget::process();
    budget.announce();
    threads_ = budget.acquire(kJobsAtOnce, stopping);
    if (threads_ > 0) use_threads(threads_);
    waited_ = std::chrono::duration<double>(std::chrono::steady_clock::now() - asked).count();
  }
  ~ThreadShare() { ThreadBudget::process().release(threads_); }
  ThreadShare(const ThreadShare&) = delete;

  explicit operator bool() const { return threads_ > 0; }
  /// Seconds.
  double waited() const { return waited_; }

 private:
  /// As many jobs as share the threads at a time, however many are queued: an executor's.
  static constexpr int kJobsAtOnce = 4;

  int threads_;
  double waited_;
};

}  // namespace nd
