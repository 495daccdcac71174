#pragma once

#include <napi.h>

#include <atomic>
#include <condition_variable>
#include <deque>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

namespace nd::binding {

/// A heavy call: execute() on an executor thread, then settle() on the JS thread. A task whose environment ended in
/// between is destroyed without settle(), so it owns nothing of that environment.
class Task {
 public:
  virtual ~Task() = default;
  virtual void execute() noexcept = 0;
  virtual void settle(Napi::Env env) = 0;
};

/// The addon's own threads, one pool per Node environment: libuv's four stay free for fs, dns and sharp. The event loop
/// is kept alive while a task is under way, and only then. Tasks start in the order they were submitted, each with its
/// share of the process's ThreadBudget.
class Executor {
 public:
  Executor(Napi::Env env, size_t threads);
  ~Executor();
  Executor(const Executor&) = delete;

  void submit(std::unique_ptr<Task> task);

  /// Drops what is queued, waits for what is running, and takes no more. Idempotent.
  void stop();

 private:
  struct Worker {
    std::thread thread;
    std::condition_variable wake;
    bool called = false;
  };

  static void deliver(napi_env env, napi_value, void* context, void* data);
  void run(Worker& worker);
  void call_idle_worker();

  napi_threadsafe_function to_js_ = nullptr;
  size_t pending_ = 0;  // touched on the JS thread only
  napi_env env_;
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
