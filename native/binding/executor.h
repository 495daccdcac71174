#pragma once

#include <atomic>
#include <condition_variable>
#include <deque>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "binding/js_thread.h"

namespace nd::binding {

/// A heavy call: execute() on an executor thread, then settle() on the JS thread.
class Task : public Message {
 public:
  virtual void execute() noexcept = 0;
  /// From another thread: execute() should end soon, whatever comes of it.
  virtual void cancel() noexcept {}
  bool held() const final { return true; }
};

/// The addon's own threads, one pool per Node environment: libuv's four stay free for fs, dns and sharp. The event loop
/// is kept alive while a task is under way, and only then. Tasks start in the order they were submitted, each with its
/// share of the process's ThreadBudget.
class Executor {
 public:
  Executor(JsThread& js, size_t threads);
  ~Executor();
  Executor(const Executor&) = delete;

  void submit(std::unique_ptr<Task> task);

  /// Drops what is queued, cancels what is running and waits for it, and takes no more. Idempotent.
  void stop();

 private:
  struct Worker {
    std::thread thread;
    std::condition_variable wake;
    bool called = false;
    Task* running = nullptr;
  };

  void run(Worker& worker);
  void call_idle_worker();

  JsThread& js_;
  std::mutex mutex_;
  std::deque<std::unique_ptr<Task>> queue_;
  std::atomic<bool> stopping_ = false;
  size_t busy_ = 0;  // workers that have a task
  std::deque<Worker> workers_;
  // The one that worked last is called first: every thread that enters libtorch's operators gets OpenMP threads of its
  // own, and where they outnumber the cores OpenMP stops spinning between operators, which takes twice the time.
  std::vector<Worker*> idle_;
};

}  // namespace nd::binding
