#include "binding/unet_wrap.h"

#include <ATen/CPUGeneratorImpl.h>

#include <atomic>
#include <string>
#include <utility>

#include "binding/error_translation.h"
#include "binding/generator_wrap.h"
#include "binding/napi_setup.h"
#include "binding/promise_worker.h"
#include "binding/tensor_wrap.h"
#include "core/checkpoint/safetensors_writer.h"
#include "core/checkpoint/state_dict.h"
#include "core/device.h"
#include "core/errors.h"

namespace nd::binding {
namespace {

using Shared = std::shared_ptr<const UNet2DModel>;

constexpr napi_type_tag kTag = {0x6e6f64652d646966, 0x756e65742d68616e};

ModelTarget read_target(const Napi::Value& dtype, const Napi::Value& device) {
  return {.device = parse_device(device.As<Napi::String>()), .dtype = parse_dtype(dtype.As<Napi::String>())};
}

Napi::Value wrap(Napi::Env env, Shared model) {
  return addon_data(env).unet_constructor.New({Napi::External<Shared>::New(env, &model)});
}

int64_t bytes_of(const UNet2DModel& model) {
  return model.parameter_count() * static_cast<int64_t>(c10::elementSize(model.target().dtype));
}

/// loadUNet(config: string, file: string, dtype: DType, device: string): Promise<UNetHandle>
Napi::Value load(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&]() -> Napi::Value {
    const std::string config = info[0].As<Napi::String>();
    const std::string file = info[1].As<Napi::String>();
    const auto target = read_target(info[2], info[3]);
    return run_async(
        info.Env(), [=] { return UNet2DModel::load(parse_unet2d_config(config), open_checkpoint(file), target); },
        [](Napi::Env env, Shared& model) { return wrap(env, model); });
  });
}

/// createUNet(config: string, generator: GeneratorHandle | undefined, dtype: DType, device: string): UNetHandle
Napi::Value create(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&]() -> Napi::Value {
    const std::string config = info[0].As<Napi::String>();
    const auto generator = info[1].IsUndefined() ? at::detail::getDefaultCPUGenerator()
                                                 : GeneratorHandle::unwrap(info[1], "generator");
    const auto target = read_target(info[2], info[3]);
    return wrap(info.Env(), UNet2DModel::random(parse_unet2d_config(config), generator, target));
  });
}

/// openCheckpoint(file: string): Promise<{ name: string; shape: number[]; dtype: string }[]>
Napi::Value open(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&]() -> Napi::Value {
    const std::string file = info[0].As<Napi::String>();
    return run_async(
        info.Env(), [file] { return open_checkpoint(file); },
        [](Napi::Env env, const std::shared_ptr<const StateDict>& checkpoint) {
          const auto& entries = checkpoint->entries();
          auto result = Napi::Array::New(env, entries.size());
          for (uint32_t i = 0; i < entries.size(); ++i) {
            auto shape = Napi::Array::New(env, entries[i].shape.size());
            for (uint32_t d = 0; d < entries[i].shape.size(); ++d) shape[d] = static_cast<double>(entries[i].shape[d]);
            auto entry = Napi::Object::New(env);
            entry.Set("name", entries[i].name);
            entry.Set("shape", shape);
            entry.Set("dtype", dtype_name(entries[i].dtype));
            result[i] = entry;
          }
          return result;
        });
  });
}

}  // namespace

void UNetHandle::define(Napi::Env env, Napi::Object exports) {
  auto constructor = DefineClass(
      env, "UNetHandle",
      {InstanceAccessor<&UNetHandle::dtype>("dtype"), InstanceAccessor<&UNetHandle::device>("device"),
       InstanceAccessor<&UNetHandle::parameter_count>("parameterCount"), InstanceAccessor<&UNetHandle::bytes>("bytes"),
       InstanceAccessor<&UNetHandle::disposed>("disposed"), InstanceMethod<&UNetHandle::forward>("forward"),
       InstanceMethod<&UNetHandle::to>("to"), InstanceMethod<&UNetHandle::save>("save"),
       InstanceMethod<&UNetHandle::dispose>("dispose")});
  addon_data(env).unet_constructor = Napi::Persistent(constructor);
  exports.Set("loadUNet", Napi::Function::New(env, load, "loadUNet"));
  exports.Set("createUNet", Napi::Function::New(env, create, "createUNet"));
  exports.Set("openCheckpoint", Napi::Function::New(env, open, "openCheckpoint"));
}

UNetHandle::UNetHandle(const Napi::CallbackInfo& info) : Napi::ObjectWrap<UNetHandle>(info) {
  if (info.Length() != 1 || !info[0].IsExternal()) {
    throw Napi::TypeError::New(info.Env(), "UNetHandle has no public constructor");
  }
  info.This().As<Napi::Object>().TypeTag(&kTag);
  become(info.Env(), *info[0].As<Napi::External<Shared>>().Data());
}

bool UNetHandle::is_handle(const Napi::Value& value) {
  return value.IsObject() && value.As<Napi::Object>().CheckTypeTag(&kTag);
}

const Shared& UNetHandle::unwrap(const Napi::Value& value) { return Unwrap(value.As<Napi::Object>())->live(); }

void UNetHandle::Finalize(Napi::Env env) { become(env, nullptr); }

void UNetHandle::become(Napi::Env env, Shared model) {
  const int64_t bytes = model ? bytes_of(*model) : 0;
  if (bytes != told_v8_) Napi::MemoryManagement::AdjustExternalMemory(env, bytes - told_v8_);
  told_v8_ = bytes;
  model_ = std::move(model);
}

const Shared& UNetHandle::live() const {
  if (!model_) fail(ErrorCode::disposed, "this UNet2DModel was disposed");
  return model_;
}

Napi::Value UNetHandle::dtype(const Napi::CallbackInfo& info) {
  return guarded(info.Env(),
                 [&]() -> Napi::Value { return Napi::String::New(info.Env(), dtype_name(live()->target().dtype)); });
}

Napi::Value UNetHandle::device(const Napi::CallbackInfo& info) {
  return guarded(info.Env(),
                 [&]() -> Napi::Value { return Napi::String::New(info.Env(), live()->target().device.str()); });
}

Napi::Value UNetHandle::parameter_count(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&]() -> Napi::Value {
    return Napi::Number::New(info.Env(), static_cast<double>(live()->parameter_count()));
  });
}

Napi::Value UNetHandle::bytes(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&]() -> Napi::Value {
    return Napi::Number::New(info.Env(), static_cast<double>(bytes_of(*live())));
  });
}

Napi::Value UNetHandle::disposed(const Napi::CallbackInfo& info) { return Napi::Boolean::New(info.Env(), !model_); }

/// forward(sample: TensorHandle, timesteps: TensorHandle, classLabels: TensorHandle | undefined):
///     { result: Promise<TensorHandle>; cancel: () => void } — cancel() ends a call that runs soon, and skips one that
/// has not begun.
Napi::Value UNetHandle::forward(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&]() -> Napi::Value {
    const auto env = info.Env();
    const auto sample = TensorHandle::unwrap(info[0], "sample");
    const auto timesteps = TensorHandle::unwrap(info[1], "timestep");
    const auto labels = info[2].IsUndefined() ? at::Tensor() : TensorHandle::unwrap(info[2], "classLabels");
    auto cancelled = std::make_shared<std::atomic<bool>>(false);
    auto run = run_async(
        env,
        [model = live(), sample, timesteps, labels, cancelled] {
          if (*cancelled) fail(ErrorCode::aborted, "the call was cancelled before it began");
          return model->forward(sample, timesteps, labels, cancelled.get());
        },
        [](Napi::Env env, const at::Tensor& output) { return TensorHandle::wrap(env, output); }, cancelled);
    auto result = Napi::Object::New(env);
    result.Set("result", run);
    result.Set("cancel", Napi::Function::New(env, [cancelled](const Napi::CallbackInfo&) { *cancelled = true; }));
    return result;
  });
}

/// to(dtype: DType | undefined, device: string | undefined): Promise<UNetHandle>, another handle
Napi::Value UNetHandle::to(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&]() -> Napi::Value {
    auto target = live()->target();
    if (!info[0].IsUndefined()) target.dtype = parse_dtype(info[0].As<Napi::String>());
    if (!info[1].IsUndefined()) target.device = parse_device(info[1].As<Napi::String>());
    return run_async(
        info.Env(), [model = live(), target] { return model->to(target); },
        [](Napi::Env env, Shared& moved) { return wrap(env, moved); });
  });
}

/// save(file: string): Promise<void>
Napi::Value UNetHandle::save(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&]() -> Napi::Value {
    const std::string file = info[0].As<Napi::String>();
    return run_async(
        info.Env(), [model = live(), file] { write_safetensors(file, model->state_dict()); },
        [](Napi::Env env) { return env.Undefined(); });
  });
}

/// dispose(): void. What is under way holds the model itself.
void UNetHandle::dispose(const Napi::CallbackInfo& info) { become(info.Env(), nullptr); }

}  // namespace nd::binding
