#pragma once

#include <ATen/core/Tensor.h>
#include <napi.h>

#include <string>
#include <vector>

namespace nd::binding {

/// The JavaScript handle of one at::Tensor (ts/native/addon-types.ts: TensorHandle).
class TensorHandle final : public Napi::ObjectWrap<TensorHandle> {
 public:
  static void define(Napi::Env env, Napi::Object exports);
  static Napi::Value wrap(Napi::Env env, at::Tensor tensor);
  static bool is_handle(const Napi::Value& value);
  /// The tensor of a handle. Throws ERR_ARGUMENT for another value, ERR_DISPOSED after dispose().
  static const at::Tensor& unwrap(const Napi::Value& value, const char* name);

  explicit TensorHandle(const Napi::CallbackInfo& info);
  void Finalize(Napi::Env env) override;

 private:
  Napi::Value shape(const Napi::CallbackInfo& info);
  Napi::Value dtype(const Napi::CallbackInfo& info);
  Napi::Value device(const Napi::CallbackInfo& info);
  Napi::Value data(const Napi::CallbackInfo& info);
  Napi::Value disposed(const Napi::CallbackInfo& info);
  void dispose(const Napi::CallbackInfo& info);
  void release(Napi::Env env);
  const at::Tensor& live() const;

  at::Tensor tensor_;
  int64_t told_v8_ = 0;  // the bytes V8's garbage collector was told of
};

/// tensorFrom(data: TypedArray, shape: number[], dtype: DType): a copy on the CPU. data's bytes are read as dtype's own.
Napi::Value tensor_from(const Napi::CallbackInfo& info);

/// A JavaScript array of integers. Throws ERR_ARGUMENT, naming it, otherwise.
std::vector<int64_t> integers(const Napi::Value& value, const char* name);

}  // namespace nd::binding
