#pragma once

#include <napi.h>

#include <memory>
#include <vector>

#include "core/engine/sampler_engine.h"

namespace nd::binding {

/// The JavaScript handle of one SamplerEngine (ts/native/addon-types.ts: EngineHandle). The event loop is kept alive, and the
/// handle out of the garbage collector's reach, while a request or a trial of it is under way.
class EngineHandle final : public Napi::ObjectWrap<EngineHandle> {
 public:
  static void define(Napi::Env env, Napi::Object exports);
  explicit EngineHandle(const Napi::CallbackInfo& info);
  void Finalize(Napi::Env env) override;

 private:
  class Events;
  class Mailbox;

  Napi::Value submit(const Napi::CallbackInfo& info);
  Napi::Value warm_up(const Napi::CallbackInfo& info);
  void cancel(const Napi::CallbackInfo& info);
  Napi::Value stats(const Napi::CallbackInfo& info);
  void close(const Napi::CallbackInfo& info);

  void settle(Napi::Env env, std::vector<EngineEvent> events);
  void begin_work(Napi::Env env);
  void end_work(Napi::Env env);
  /// Waits for the thread, which ends soon after close().
  void join(Napi::Env env);

  std::shared_ptr<Mailbox> mailbox_;
  std::unique_ptr<SamplerEngine> engine_;  // none once it is closed
  EngineStats last_stats_;                 // of a closed one
  bool closing_ = false;
  size_t pending_ = 0;
  uint64_t stop_ = 0;
};

}  // namespace nd::binding
