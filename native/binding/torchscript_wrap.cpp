#include "binding/torchscript_wrap.h"

#include <atomic>
#include <optional>
#include <string>
#include <vector>

#include "binding/error_translation.h"
#include "binding/ivalue_convert.h"
#include "binding/napi_setup.h"
#include "binding/promise_worker.h"
#include "core/device.h"
#include "core/errors.h"

namespace nd::binding {
namespace {

using Shared = std::shared_ptr<TorchScriptArchive>;

constexpr napi_type_tag kTag = {0x6e6f64652d646966, 0x746f726368736372};

std::optional<at::ScalarType> optional_dtype(const Napi::Value& value) {
  return value.IsUndefined() ? std::nullopt : std::optional(parse_dtype(value.As<Napi::String>()));
}

std::optional<at::Device> optional_device(const Napi::Value& value) {
  return value.IsUndefined() ? std::nullopt : std::optional(parse_device(value.As<Napi::String>()));
}

Napi::Value wrap(Napi::Env env, Shared archive) {
  return addon_data(env).torchscript_constructor.New({Napi::External<Shared>::New(env, &archive)});
}

/// loadTorchScript(file: string, device: string, dtype: DType | undefined): Promise<TorchScriptHandle>
Napi::Value load(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&]() -> Napi::Value {
    const std::string file = info[0].As<Napi::String>();
    const auto device = parse_device(info[1].As<Napi::String>());
    const auto dtype = optional_dtype(info[2]);
    return run_async(
        info.Env(), [=] { return TorchScriptArchive::load(file, device, dtype); },
        [](Napi::Env env, Shared& archive) { return wrap(env, archive); });
  });
}

}  // namespace

void TorchScriptHandle::define(Napi::Env env, Napi::Object exports) {
  auto constructor = DefineClass(
      env, "TorchScriptHandle",
      {InstanceAccessor<&TorchScriptHandle::dtype>("dtype"), InstanceAccessor<&TorchScriptHandle::device>("device"),
       InstanceAccessor<&TorchScriptHandle::disposed>("disposed"), InstanceMethod<&TorchScriptHandle::inputs>("inputs"),
       InstanceMethod<&TorchScriptHandle::counts>("counts"),
       InstanceMethod<&TorchScriptHandle::extra_files>("extraFiles"),
       InstanceMethod<&TorchScriptHandle::forward>("forward"), InstanceMethod<&TorchScriptHandle::to>("to"),
       InstanceMethod<&TorchScriptHandle::save>("save"),
       InstanceMethod<&TorchScriptHandle::save_weights>("saveWeights"),
       InstanceMethod<&TorchScriptHandle::dispose>("dispose")});
  addon_data(env).torchscript_constructor = Napi::Persistent(constructor);
  exports.Set("loadTorchScript", Napi::Function::New(env, load, "loadTorchScript"));
}

TorchScriptHandle::TorchScriptHandle(const Napi::CallbackInfo& info) : Napi::ObjectWrap<TorchScriptHandle>(info) {
  if (info.Length() != 1 || !info[0].IsExternal()) {
    throw Napi::TypeError::New(info.Env(), "TorchScriptHandle has no public constructor");
  }
  info.This().As<Napi::Object>().TypeTag(&kTag);
  archive_ = *info[0].As<Napi::External<Shared>>().Data();
  tell_v8(info.Env(), static_cast<int64_t>(archive_->counts().bytes));
}

bool TorchScriptHandle::is_handle(const Napi::Value& value) {
  return value.IsObject() && value.As<Napi::Object>().CheckTypeTag(&kTag);
}

const Shared& TorchScriptHandle::unwrap(const Napi::Value& value) { return Unwrap(value.As<Napi::Object>())->live(); }

void TorchScriptHandle::Finalize(Napi::Env env) { release(env); }

void TorchScriptHandle::tell_v8(Napi::Env env, int64_t bytes) {
  if (bytes != told_v8_) Napi::MemoryManagement::AdjustExternalMemory(env, bytes - told_v8_);
  told_v8_ = bytes;
}

void TorchScriptHandle::release(Napi::Env env) {
  tell_v8(env, 0);
  archive_.reset();
}

const Shared& TorchScriptHandle::live() const {
  if (!archive_) fail(ErrorCode::disposed, "this TorchScriptModel was disposed");
  return archive_;
}

Napi::Value TorchScriptHandle::dtype(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&]() -> Napi::Value {
    const auto dtype = live()->dtype();
    if (!dtype) return info.Env().Null();
    return Napi::String::New(info.Env(), dtype_name(*dtype));
  });
}

Napi::Value TorchScriptHandle::device(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&]() -> Napi::Value { return Napi::String::New(info.Env(), live()->device().str()); });
}

Napi::Value TorchScriptHandle::disposed(const Napi::CallbackInfo& info) {
  return Napi::Boolean::New(info.Env(), !archive_);
}

/// inputs(): { name: string; type: string; hasDefault: boolean }[]
Napi::Value TorchScriptHandle::inputs(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&]() -> Napi::Value {
    const auto& arguments = live()->schema().arguments();
    auto result = Napi::Array::New(info.Env(), arguments.size() - 1);
    for (uint32_t i = 1; i < arguments.size(); ++i) {
      auto input = Napi::Object::New(info.Env());
      input.Set("name", arguments[i].name());
      input.Set("type", arguments[i].type()->annotation_str());
      input.Set("hasDefault", arguments[i].default_value().has_value());
      result[i - 1] = input;
    }
    return result;
  });
}

/// counts(): { parameters: number; buffers: number; bytes: number }
Napi::Value TorchScriptHandle::counts(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&]() -> Napi::Value {
    const auto counts = live()->counts();
    auto result = Napi::Object::New(info.Env());
    result.Set("parameters", static_cast<double>(counts.parameters));
    result.Set("buffers", static_cast<double>(counts.buffers));
    result.Set("bytes", static_cast<double>(counts.bytes));
    return result;
  });
}

/// extraFiles(): Record<string, string>
Napi::Value TorchScriptHandle::extra_files(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&]() -> Napi::Value {
    auto result = Napi::Object::New(info.Env());
    for (const auto& [name, text] : live()->extra_files()) {
      // Defined, not assigned: a file named __proto__ stays a key.
      result.DefineProperty(
          Napi::PropertyDescriptor::Value(name, Napi::String::New(info.Env(), text), napi_default_jsproperty));
    }
    return result;
  });
}

/// forward(inputs: unknown[]): { result: Promise<unknown>; cancel: () => void } — cancel() skips a call that has not
/// begun.
Napi::Value TorchScriptHandle::forward(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&]() -> Napi::Value {
    const auto env = info.Env();
    const auto archive = live();
    tell_v8(env, static_cast<int64_t>(archive->counts().bytes));  // to() may have changed them
    const auto array = info[0].As<Napi::Array>();
    std::vector<Napi::Value> values;
    for (uint32_t i = 0; i < array.Length(); ++i) values.push_back(array.Get(i));
    auto cancelled = std::make_shared<std::atomic<bool>>(false);
    auto run = run_async(
        env,
        [archive, state = archive->state(), cancelled, stack = to_stack(values, archive->schema(), 1)]() mutable {
          if (*cancelled) fail(ErrorCode::aborted, "the call was cancelled before it began");
          return archive->forward(state, std::move(stack));
        },
        [](Napi::Env env, const c10::IValue& output) { return to_js(env, output); });
    auto result = Napi::Object::New(env);
    result.Set("result", run);
    result.Set("cancel", Napi::Function::New(env, [cancelled](const Napi::CallbackInfo&) { *cancelled = true; }));
    return result;
  });
}

/// to(device: string | undefined, dtype: DType | undefined): Promise<void>
Napi::Value TorchScriptHandle::to(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&]() -> Napi::Value {
    const auto device = optional_device(info[0]);
    const auto dtype = optional_dtype(info[1]);
    return run_async(
        info.Env(), [archive = live(), device, dtype] { return archive->moved(device, dtype); },
        // On the JS thread, so that a caller who reads dtype and then calls forward meets one and the same state.
        [archive = live()](Napi::Env env, TorchScriptArchive::State& next) {
          archive->become(std::move(next));
          return env.Undefined();
        });
  });
}

/// save(file: string, extraFiles: Record<string, string>): Promise<void>
Napi::Value TorchScriptHandle::save(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&]() -> Napi::Value {
    const std::string file = info[0].As<Napi::String>();
    const auto object = info[1].As<Napi::Object>();
    const auto names = own_keys(object);
    TorchScriptArchive::ExtraFiles extra;
    for (uint32_t i = 0; i < names.Length(); ++i) {
      extra[names.Get(i).As<Napi::String>()] = object.Get(names.Get(i)).As<Napi::String>().Utf8Value();
    }
    return run_async(
        info.Env(), [archive = live(), file, extra] { archive->save(file, extra); },
        [](Napi::Env env) { return env.Undefined(); });
  });
}

/// saveWeights(file: string): Promise<void>
Napi::Value TorchScriptHandle::save_weights(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&]() -> Napi::Value {
    const std::string file = info[0].As<Napi::String>();
    return run_async(
        info.Env(), [archive = live(), file] { archive->save_weights(file); },
        [](Napi::Env env) { return env.Undefined(); });
  });
}

/// dispose(): void. What is under way holds the module itself.
void TorchScriptHandle::dispose(const Napi::CallbackInfo& info) { release(info.Env()); }

}  // namespace nd::binding
