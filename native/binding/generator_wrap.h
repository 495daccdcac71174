#pragma once

#include <ATen/core/Generator.h>
#include <napi.h>

#include <vector>

namespace nd::binding {

/// The JavaScript handle of one at::Generator (ts/native/addon-types.ts: GeneratorHandle).
class GeneratorHandle final : public Napi::ObjectWrap<GeneratorHandle> {
 public:
  static void define(Napi::Env env, Napi::Object exports);
  static bool is_handle(const Napi::Value& value);
  static const at::Generator& unwrap(const Napi::Value& value, const char* name);
  /// undefined, a handle, or an array of handles.
  static std::vector<at::Generator> unwrap_list(const Napi::Value& value, const char* name);

  explicit GeneratorHandle(const Napi::CallbackInfo& info);

 private:
  void manual_seed(const Napi::CallbackInfo& info);
  Napi::Value device(const Napi::CallbackInfo& info);
  Napi::Value get_state(const Napi::CallbackInfo& info);
  void set_state(const Napi::CallbackInfo& info);

  at::Generator generator_;
};

}  // namespace nd::binding
