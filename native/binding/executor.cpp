#include "binding/executor.h"

#include <ATen/Parallel.h>

#include "binding/thread_budget.h"

namespace nd::binding {
namespace {

/// process.exit() runs no cleanup hooks on the main thread: it destroys statics, some of them libtorch's (the default
/// generator, for one), while executor threads are still inside it. The 'exit' event comes before that.
void stop_before_exit(Napi::Env env, Executor* executor) {
  const auto process = env.Global().Get("process").As<Napi::Object>();
  const auto stop = Napi::Function::New(env, [executor](const Napi::CallbackInfo&) { executor->stop(); });
  process.Get("once").As<Napi::Function>().Call(process, {Napi::String::New(env, "exit"), stop});
}

}  // namespace

Executor::Executor(Napi::Env env, size_t threads) : env_(env) {
  napi_value name = Napi::String::New(env, "node-diffusers executor");
  const auto status =
      napi_create_threadsafe_function(env, nullptr, nullptr, name, 0, 1, nullptr, nullptr, this, deliver, &to_js_);
  if (status != napi_ok) throw Napi::Error::New(env, "the executor's thread-safe function could not be made");
  napi_unref_threadsafe_function(env, to_js_);
  // Cleanup hooks run last in, first out: this one joins before the thread-safe function's own closes it.
  napi_add_env_cleanup_hook(env, [](void* self) { static_cast<Executor*>(self)->stop(); }, this);
  stop_before_exit(env, this);
  for (size_t i = 0; i < threads; ++i) {
    auto& worker = workers_.emplace_back();
    worker.thread = std::thread([this, &worker] { run(worker); });
  }
}

Executor::~Executor() { stop(); }

void Executor::submit(std::unique_ptr<Task> task) {
  {
    std::lock_guard lock(mutex_);
    if (stopping_) return;
    queue_.push_back(std::move(task));
    ThreadBudget::process().announce();
    // Without room the worker that frees some goes on with it: another one's OpenMP threads would spin beside its own.
    if (busy_ == 0 || ThreadBudget::process().has_room()) call_idle_worker();
  }
  if (pending_++ == 0) napi_ref_threadsafe_function(env_, to_js_);
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
    for (auto& worker : workers_) worker.wake.notify_one();
  }
  ThreadBudget::process().wake();
  for (auto& worker : workers_) worker.thread.join();
}

void Executor::deliver(napi_env env, napi_value, void* context, void* data) {
  std::unique_ptr<Task> task(static_cast<Task*>(data));
  if (env == nullptr) return;  // the environment is ending
  auto* self = static_cast<Executor*>(context);
  if (--self->pending_ == 0) napi_unref_threadsafe_function(env, self->to_js_);
  task->settle(Napi::Env(env));
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
      worker.wake.wait(lock, [&] { return stopping_ || worker.called; });
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
      lock.unlock();
      at::set_num_threads(threads);  // OpenMP keeps the number per thread
      task->execute();
    }
    budget.release(threads);
    lock.lock();
    --busy_;
    if (stopping_) return;
    // Under the lock, so that whoever gets the result and submits the next task finds this worker idle.
    if (napi_call_threadsafe_function(to_js_, task.get(), napi_tsfn_nonblocking) == napi_ok) task.release();
  }
}

}  // namespace nd::binding
