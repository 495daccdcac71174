#pragma once

#include <napi.h>

#include <memory>

#include "core/unet/unet2d_model.h"

namespace nd::binding {

/// The JavaScript handle of one UNet2DModel (ts/native/addon-types.ts: UNetHandle).
class UNetHandle final : public Napi::ObjectWrap<UNetHandle> {
 public:
  static void define(Napi::Env env, Napi::Object exports);
  static bool is_handle(const Napi::Value& value);
  /// Throws ERR_DISPOSED after dispose().
  static const std::shared_ptr<const UNet2DModel>& unwrap(const Napi::Value& value);
  explicit UNetHandle(const Napi::CallbackInfo& info);
  void Finalize(Napi::Env env) override;

 private:
  Napi::Value dtype(const Napi::CallbackInfo& info);
  Napi::Value device(const Napi::CallbackInfo& info);
  Napi::Value parameter_count(const Napi::CallbackInfo& info);
  Napi::Value bytes(const Napi::CallbackInfo& info);
  Napi::Value disposed(const Napi::CallbackInfo& info);
  Napi::Value forward(const Napi::CallbackInfo& info);
  Napi::Value to(const Napi::CallbackInfo& info);
  Napi::Value save(const Napi::CallbackInfo& info);
  void dispose(const Napi::CallbackInfo& info);
  void become(Napi::Env env, std::shared_ptr<const UNet2DModel> model);
  const std::shared_ptr<const UNet2DModel>& live() const;

  std::shared_ptr<const UNet2DModel> model_;
  int64_t told_v8_ = 0;  // the bytes V8's garbage collector was told of
};

}  // namespace nd::binding
