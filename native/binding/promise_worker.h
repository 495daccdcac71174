#pragma once

#include <napi.h>

#include <atomic>
#include <exception>
#include <memory>
#include <optional>
#include <type_traits>
#include <utility>

#include "binding/error_translation.h"
#include "binding/napi_setup.h"

namespace nd::binding {

/// Turned true, it ends a work that looks at it.
using CancelFlag = std::shared_ptr<std::atomic<bool>>;

template <typename Work, typename Convert>
class PromiseWorker final : public Task {
  using Result = std::invoke_result_t<Work>;
  struct Nothing {};
  using Stored = std::conditional_t<std::is_void_v<Result>, Nothing, Result>;

 public:
  PromiseWorker(Napi::Env env, Work work, Convert convert, CancelFlag cancelled)
      : deferred_(Napi::Promise::Deferred::New(env)), work_(std::move(work)), convert_(std::move(convert)),
        cancelled_(std::move(cancelled)) {}

  Napi::Promise promise() const { return deferred_.Promise(); }

  void execute() noexcept override {
    try {
      c10::InferenceMode inference;
      if constexpr (std::is_void_v<Result>) {
        work_();
        result_.emplace();
      } else {
        result_.emplace(work_());
      }
    } catch (...) {
      exception_ = std::current_exception();
    }
  }

  void cancel() noexcept override {
    if (cancelled_) *cancelled_ = true;
  }

  void settle(Napi::Env env) override {
    Napi::HandleScope scope(env);
    try {
      if (exception_) return deferred_.Reject(translate(env, exception_).Value());
      c10::InferenceMode inference;
      if constexpr (std::is_void_v<Result>) {
        deferred_.Resolve(convert_(env));
      } else {
        deferred_.Resolve(convert_(env, *result_));
      }
    } catch (...) {
      deferred_.Reject(translate(env, std::current_exception()).Value());
    }
  }

 private:
  Napi::Promise::Deferred deferred_;
  Work work_;
  Convert convert_;
  CancelFlag cancelled_;
  std::optional<Stored> result_;
  std::exception_ptr exception_;
};

/// Runs work() on the executor and resolves the promise with convert(env, result) on the JS thread; an exception of
/// either rejects it with its code. work owns what it uses: a dispose() in mid-flight frees nothing under it. `cancelled` is what
/// work looks at, for the environment's end.
template <typename Work, typename Convert>
Napi::Promise run_async(Napi::Env env, Work work, Convert convert, CancelFlag cancelled = nullptr) {
  auto task = std::make_unique<PromiseWorker<Work, Convert>>(env, std::move(work), std::move(convert), std::move(cancelled));
  const auto promise = task->promise();
  addon_data(env).executor->submit(std::move(task));
  return promise;
}

}  // namespace nd::binding
