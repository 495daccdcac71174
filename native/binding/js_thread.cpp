#include "binding/js_thread.h"

namespace nd::binding {

JsThread::JsThread(Napi::Env env) : env_(env) {
  napi_value name = Napi::String::New(env, "node-diffusers");
  const auto status =
      napi_create_threadsafe_function(env, nullptr, nullptr, name, 0, 1, nullptr, nullptr, this, deliver, &function_);
  if (status != napi_ok) throw Napi::Error::New(env, "the addon's thread-safe function could not be made");
  napi_unref_threadsafe_function(env, function_);
  // Cleanup hooks run last in, first out: this one stops the threads before the thread-safe function's own closes it.
  napi_add_env_cleanup_hook(env, [](void* self) { static_cast<JsThread*>(self)->end(); }, this);
  // process.exit() runs no cleanup hooks on the main thread: it destroys statics, some of them libtorch's (the default
  // generator, for one), while threads are still inside it. The 'exit' event comes before that.
  const auto process = env.Global().Get("process").As<Napi::Object>();
  const auto stop = Napi::Function::New(env, [this](const Napi::CallbackInfo&) { end(); });
  process.Get("once").As<Napi::Function>().Call(process, {Napi::String::New(env, "exit"), stop});
}

void JsThread::post(std::unique_ptr<Message> message) {
  if (napi_call_threadsafe_function(function_, message.get(), napi_tsfn_nonblocking) == napi_ok) message.release();
}

void JsThread::hold() {
  if (holds_++ == 0) napi_ref_threadsafe_function(env_, function_);
}

void JsThread::let_go() {
  if (--holds_ == 0) napi_unref_threadsafe_function(env_, function_);
}

uint64_t JsThread::at_end(std::function<void()> stop) {
  stops_.emplace(next_stop_, std::move(stop));
  return next_stop_++;
}

void JsThread::end() {
  while (!stops_.empty()) {
    const auto last = std::prev(stops_.end());
    const auto stop = std::move(last->second);
    stops_.erase(last);
    stop();
  }
}

void JsThread::deliver(napi_env env, napi_value, void* context, void* data) {
  const std::unique_ptr<Message> message(static_cast<Message*>(data));
  if (env == nullptr) return;  // the environment is ending
  if (message->held()) static_cast<JsThread*>(context)->let_go();
  try {
    message->settle(Napi::Env(env));
  } catch (...) {
    // In an environment that is ending (a worker that is terminated) every call of JavaScript fails, also the one that would
    // tell of it; and nothing may pass through Node's C.
  }
}

}  // namespace nd::binding
