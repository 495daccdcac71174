#include "binding/executor.h"

#include <ATen/Parallel.h>

#include <set>

#include "core/device.h"

namespace nd::binding {
namespace {

/// process.exit() destroys libtorch's statics while executor threads may still be inside it. This one is built after
/// libtorch's, so it is destroyed before them, and joins the threads first.
class ExitGuard {
 public:
  void add(Executor* e) {
    std::lock_guard lock(mutex_);
    live_.insert(e);
  }
  void remove(Executor* e) {
    std::lock_guard lock(mutex_);
    live_.erase(e);
  }
  ~ExitGuard() {
    std::set<Executor*> live;
    {
      std::lock_guard lock(mutex_);
      live = live_;
    }
    for (auto* e : live) e->stop();
  }

 private:
  std::mutex mutex_;
  std::set<Executor*> live_;
};

ExitGuard exit_guard;

}  // namespace

Executor::Executor(Napi::Env env, size_t threads) : env_(env) {
  napi_value name = Napi::String::New(env, "node-diffusers executor");
  const auto status =
      napi_create_threadsafe_function(env, nullptr, nullptr, name, 0, 1, nullptr, nullptr, this, deliver, &to_js_);
  if (status != napi_ok) throw Napi::Error::New(env, "the executor's thread-safe function could not be made");
  napi_unref_threadsafe_function(env, to_js_);
  // Cleanup hooks run last in, first out: this one joins before the thread-safe function's own closes it.
  napi_add_env_cleanup_hook(env, [](void* self) { static_cast<Executor*>(self)->stop(); }, this);
  exit_guard.add(this);
  for (size_t i = 0; i < threads; ++i) threads_.emplace_back([this] { run(); });
}

Executor::~Executor() {
  stop();
  exit_guard.remove(this);
}

void Executor::submit(std::unique_ptr<Task> task) {
  {
    std::lock_guard lock(mutex_);
    if (stopping_) return;
    queue_.push_back(std::move(task));
  }
  if (pending_++ == 0) napi_ref_threadsafe_function(env_, to_js_);
  wake_.notify_one();
}

void Executor::stop() {
  {
    std::lock_guard lock(mutex_);
    if (stopping_) return;
    stopping_ = true;
    queue_.clear();
  }
  wake_.notify_all();
  for (auto& thread : threads_) thread.join();
}

void Executor::deliver(napi_env env, napi_value, void* context, void* data) {
  std::unique_ptr<Task> task(static_cast<Task*>(data));
  if (env == nullptr) return;  // the environment is ending
  auto* self = static_cast<Executor*>(context);
  if (--self->pending_ == 0) napi_unref_threadsafe_function(env, self->to_js_);
  task->settle(Napi::Env(env));
}

void Executor::run() {
  at::set_num_threads(available_threads());  // OpenMP keeps the number per thread
  while (true) {
    std::unique_ptr<Task> task;
    {
      std::unique_lock lock(mutex_);
      wake_.wait(lock, [this] { return stopping_ || !queue_.empty(); });
      if (stopping_) return;
      task = std::move(queue_.front());
      queue_.pop_front();
    }
    task->execute();
    std::lock_guard lock(mutex_);
    if (stopping_) return;
    if (napi_call_threadsafe_function(to_js_, task.get(), napi_tsfn_nonblocking) == napi_ok) task.release();
  }
}

}  // namespace nd::binding
