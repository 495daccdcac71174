#pragma once

#include <napi.h>

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
/// is kept alive while a task is under way, and only then.
class Executor {
 public:
  Executor(Napi::Env env, size_t threads);
  ~Executor();
  Executor(const Executor&) = delete;

  void submit(std::unique_ptr<Task> task);

  /// Drops what is queued, waits for what is running, and takes no more. Idempotent.
  void stop();

 private:
  static void deliver(napi_env env, napi_value, void* context, void* data);
  void run();

  napi_threadsafe_function to_js_ = nullptr;
  size_t pending_ = 0;  // touched on the JS thread only
  napi_env env_;
  std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<std::unique_ptr<Task>> queue_;
  bool stopping_ = false;
  std::vector<std::thread> threads_;
};

}  // namespace nd::binding
