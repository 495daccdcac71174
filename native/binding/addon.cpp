#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <napi.h>
#include <torch/version.h>

#include <mutex>

#include "binding/engine_wrap.h"
#include "binding/error_translation.h"
#include "binding/generator_wrap.h"
#include "binding/napi_setup.h"
#include "binding/ops_wrap.h"
#include "binding/plan_wrap.h"
#include "binding/scheduler_wrap.h"
#include "binding/tensor_wrap.h"
#include "binding/torchscript_wrap.h"
#include "binding/unet_wrap.h"
#include "core/device.h"
#include "core/sampling/guidance.h"
#include "core/sampling/noise_source.h"
#include "core/sampling/pixels.h"
#include "core/thread_budget.h"

namespace nd::binding {
namespace {

/// Enough that one slow forward does not hold up the others; they share the process's threads (ThreadBudget).
constexpr size_t kExecutorThreads = 4;

/// init({ makeError: (code: string, message: string) => Error }): void
void init(const Napi::CallbackInfo& info) {
  addon_data(info.Env()).make_error =
      Napi::Persistent(info[0].As<Napi::Object>().Get("makeError").As<Napi::Function>());
}

/// randn(shape: number[], generators: GeneratorHandle | GeneratorHandle[] | undefined, dtype: DType, device: string)
Napi::Value randn_js(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&] {
    const auto options = at::TensorOptions(parse_dtype(info[2].As<Napi::String>())).device(parse_device(info[3].As<Napi::String>()));
    return TensorHandle::wrap(info.Env(), nd::randn(integers(info[0], "shape"),
                                                    GeneratorHandle::unwrap_list(info[1], "generator"), options));
  });
}

/// toPixels(samples: TensorHandle, uint8: boolean): TensorHandle, [B, H, W, C]
Napi::Value to_pixels_js(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&] {
    const auto format = info[1].ToBoolean() ? PixelFormat::uint8 : PixelFormat::unit_float;
    return TensorHandle::wrap(info.Env(), to_pixels(TensorHandle::unwrap(info[0], "samples"), format));
  });
}

/// guide(output: TensorHandle, channels: number, scale: number): TensorHandle
Napi::Value guide_js(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&] {
    const auto output = TensorHandle::unwrap(info[0], "output");
    const auto scales = at::full({1}, info[2].As<Napi::Number>().DoubleValue(), output.options().dtype(at::kDouble));
    return TensorHandle::wrap(info.Env(), guide(output, info[1].As<Napi::Number>().Int64Value(), scales));
  });
}

/// threads(): { limit: number; inUse: number; peak: number; intraOp: number; available: number }
Napi::Value threads(const Napi::CallbackInfo& info) {
  auto result = Napi::Object::New(info.Env());
  const auto counts = ThreadBudget::process().counts();
  result.Set("limit", counts.limit);
  result.Set("inUse", counts.in_use);
  result.Set("peak", counts.peak);
  result.Set("intraOp", at::get_num_threads());
  result.Set("available", available_threads());
  return result;
}

/// setThreads(limit: number): void, for the executors' jobs together and for operators on the JS thread
void set_threads(const Napi::CallbackInfo& info) {
  const int limit = info[0].As<Napi::Number>();
  ThreadBudget::process().set_limit(limit);
  at::set_num_threads(limit);
}

/// allowTF32(allowed?: boolean): boolean, whether it is allowed now
Napi::Value allow_tf32_js(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&]() -> Napi::Value {
    if (info[0].IsBoolean()) allow_tf32(info[0].ToBoolean());
    return Napi::Boolean::New(info.Env(), tf32_allowed());
  });
}

/// runtime(): { torchVersion: string; cuda: boolean; cudaDevices: number; parallel: string }
Napi::Value runtime(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&]() -> Napi::Value {
    auto result = Napi::Object::New(info.Env());
    result.Set("torchVersion", TORCH_VERSION);
    // hasCUDA() asks for a device; a libtorch_cuda that is loaded knows its cuDNN without one.
    result.Set("cudaLinked", at::detail::getCUDAHooks().hasCuDNN() || at::hasCUDA());
    result.Set("cudaDevices", Napi::Number::New(info.Env(), static_cast<double>(at::hasCUDA() ? at::getNumGPUs() : 0)));
    result.Set("parallel", at::get_parallel_info());
    return result;
  });
}

Napi::Object define(Napi::Env env, Napi::Object exports) {
  env.SetInstanceData(new AddonData());
  addon_data(env).js = std::make_unique<JsThread>(env);
  addon_data(env).executor = std::make_unique<Executor>(*addon_data(env).js, kExecutorThreads);
  at::set_num_threads(ThreadBudget::process().counts().limit);
  static std::once_flag once;  // of the process, not of each worker
  std::call_once(once, [] { allow_tf32(false); });
  TensorHandle::define(env, exports);
  GeneratorHandle::define(env, exports);
  SchedulerHandle::define(env, exports);
  TorchScriptHandle::define(env, exports);
  UNetHandle::define(env, exports);
  PlanHandle::define(env, exports);
  EngineHandle::define(env, exports);
  define_ops(env, exports);
  exports.Set("init", Napi::Function::New(env, init, "init"));
  exports.Set("randn", Napi::Function::New(env, randn_js, "randn"));
  exports.Set("toPixels", Napi::Function::New(env, to_pixels_js, "toPixels"));
  exports.Set("guide", Napi::Function::New(env, guide_js, "guide"));
  exports.Set("threads", Napi::Function::New(env, threads, "threads"));
  exports.Set("setThreads", Napi::Function::New(env, set_threads, "setThreads"));
  exports.Set("allowTF32", Napi::Function::New(env, allow_tf32_js, "allowTF32"));
  exports.Set("runtime", Napi::Function::New(env, runtime, "runtime"));
  return exports;
}

NODE_API_MODULE(node_diffusers, define)

}  // namespace
}  // namespace nd::binding
