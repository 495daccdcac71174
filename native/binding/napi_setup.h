#pragma once

#include <napi.h>

#include <memory>

#include "binding/executor.h"
#include "binding/js_thread.h"

namespace nd::binding {

/// Everything that one Node environment (the main thread, or a worker) has of the addon.
struct AddonData {
  std::unique_ptr<JsThread> js;
  std::unique_ptr<Executor> executor;
  Napi::FunctionReference make_error;  // (code, message) → DiffusersError, from init()
  Napi::FunctionReference tensor_constructor;
  Napi::FunctionReference generator_constructor;
  Napi::FunctionReference torchscript_constructor;
  Napi::FunctionReference unet_constructor;
  Napi::FunctionReference plan_constructor;
};

inline AddonData& addon_data(Napi::Env env) { return *env.GetInstanceData<AddonData>(); }

}  // namespace nd::binding
