#pragma once

#include <napi.h>

#include <memory>

#include "core/checkpoint/torchscript_archive.h"

namespace nd::binding {

/// The JavaScript handle of one loaded TorchScript module (ts/native/addon-types.ts: TorchScriptHandle).
class TorchScriptHandle final : public Napi::ObjectWrap<TorchScriptHandle> {
 public:
  static void define(Napi::Env env, Napi::Object exports);
  static bool is_handle(const Napi::Value& value);
  /// Throws ERR_DISPOSED after dispose().
  static const std::shared_ptr<TorchScriptArchive>& unwrap(const Napi::Value& value);
  explicit TorchScriptHandle(const Napi::CallbackInfo& info);
  void Finalize(Napi::Env env) override;

 private:
  Napi::Value dtype(const Napi::CallbackInfo& info);
  Napi::Value device(const Napi::CallbackInfo& info);
  Napi::Value disposed(const Napi::CallbackInfo& info);
  Napi::Value inputs(const Napi::CallbackInfo& info);
  Napi::Value counts(const Napi::CallbackInfo& info);
  Napi::Value extra_files(const Napi::CallbackInfo& info);
  Napi::Value forward(const Napi::CallbackInfo& info);
  Napi::Value to(const Napi::CallbackInfo& info);
  Napi::Value save(const Napi::CallbackInfo& info);
  Napi::Value save_weights(const Napi::CallbackInfo& info);
  void dispose(const Napi::CallbackInfo& info);
  void release(Napi::Env env);
  void tell_v8(Napi::Env env, int64_t bytes);
  const std::shared_ptr<TorchScriptArchive>& live() const;

  std::shared_ptr<TorchScriptArchive> archive_;
  int64_t told_v8_ = 0;  // the bytes V8's garbage collector was told of
};

}  // namespace nd::binding
