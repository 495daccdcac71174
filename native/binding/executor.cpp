#include "binding/executor.h"

#include <ATen/Parallel.h>

#include "core/thread_budget.h"

namespace nd::binding {

Executor::Executor(JsThread& js, size_t threads) : js_(js) {
  js_.at_end([this] { stop(); });
  for (size_t i = 0; i < threads; ++i) {
    auto& worker = workers_.emplace_back();
    worker.thread = std::thread([this, &worker] { run(worker); });
  }
}

Executor::~Executor() { stop(); }

void Executor::submit(std::unique_ptr<Task> task) {
  end_idle_team();  // the JS thread's, of an operator that it has run
  {
    std::lock_guard lock(mutex_);
    if (stopping_) return;
    queue_.push_back(std::move(task));
    ThreadBudget::process().announce();
    // Without room the worker that frees some goes on with it: another one's OpenMP threads would spin beside its own.
    if (busy_ == 0 || ThreadBudget::process().has_room()) call_idle_worker();
  }
  js_.hold();
}

/// Under the lock.
void Executor::call_idle_worker() {
  if (idle_.empty()) return;
  idle_.back()->called = true;
  idle_.back()->wake.notify_one();
  idle_.pop_back();
}

void Executor::stop() {
  {
    std::lock_guard lock(mutex_);
    if (stopping_) return;
    stopping_ = true;
    ThreadBudget::process().withdraw(static_cast<int>(queue_.size()));
    queue_.clear();
    for (auto& worker : workers_) {
      worker.wake.notify_one();
      if (worker.running != nullptr) worker.running->cancel();
    }
  }
  ThreadBudget::process().wake();
  for (auto& worker : workers_) worker.thread.join();
}

void Executor::run(Worker& worker) {
  // libtorch, and this library's copy of its inline functions, set a thread's number once when they meet it: before ours.
  at::get_num_threads();
  at::internal::lazy_init_num_threads();
  auto& budget = ThreadBudget::process();
  std::unique_lock lock(mutex_);
  while (!stopping_) {
    if (queue_.empty()) {
      idle_.push_back(&worker);
      const auto called = [&] { return stopping_ || worker.called; };
      if (!worker.wake.wait_for(lock, kTeamPatience, called)) {
        lock.unlock();
        end_idle_team();
        lock.lock();
        worker.wake.wait(lock, called);
      }
      worker.called = false;
      continue;
    }
    auto task = std::move(queue_.front());
    queue_.pop_front();
    ++busy_;
    lock.unlock();
    const int threads = budget.acquire(static_cast<int>(workers_.size()), stopping_);
    if (threads > 0) {
      lock.lock();
      if (!queue_.empty() && budget.has_room()) call_idle_worker();
      if (!stopping_) worker.running = task.get();
      lock.unlock();
      use_threads(threads);
      if (worker.running != nullptr) task->execute();
    }
    budget.release(threads);
    lock.lock();
    worker.running = nullptr;
    --busy_;
    if (stopping_) return;
    // Under the lock, so that whoever gets the result and submits the next task finds this worker idle.
    js_.post(std::move(task));
  }
}

}  // namespace nd::binding
