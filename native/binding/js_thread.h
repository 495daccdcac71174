#pragma once

#include <napi.h>

#include <functional>
#include <map>
#include <memory>

namespace nd::binding {

/// Something that another thread wants done on the JS thread. One whose environment ended before is destroyed undone, so it
/// owns nothing of that environment.
class Message {
 public:
  virtual ~Message() = default;
  virtual void settle(Napi::Env env) = 0;
  /// Whether its sender held the event loop for it (JsThread::hold).
  virtual bool held() const { return false; }
};

/// The way of other threads back to the JS thread of one Node environment.
class JsThread {
 public:
  explicit JsThread(Napi::Env env);
  JsThread(const JsThread&) = delete;

  /// From any thread that stops at the environment's end (at_end): the message is settled soon, in order.
  void post(std::unique_ptr<Message> message);

  /// The event loop is kept alive while it is held as often as let go. On the JS thread.
  void hold();
  void let_go();

  /// Has `stop` called before the environment ends, unless it is forgotten before. On the JS thread; the last one first.
  uint64_t at_end(std::function<void()> stop);
  void forget(uint64_t stop) { stops_.erase(stop); }

 private:
  static void deliver(napi_env env, napi_value, void* context, void* data);
  void end();

  napi_env env_;
  napi_threadsafe_function function_ = nullptr;
  size_t holds_ = 0;
  std::map<uint64_t, std::function<void()>> stops_;
  uint64_t next_stop_ = 0;
};

}  // namespace nd::binding
