#include "binding/generator_wrap.h"

#include <ATen/ATen.h>
#include <ATen/CPUGeneratorImpl.h>
#include <ATen/Context.h>

#include <mutex>

#include "binding/error_translation.h"
#include "binding/napi_setup.h"
#include "binding/tensor_wrap.h"
#include "core/device.h"
#include "core/errors.h"

namespace nd::binding {
namespace {

constexpr napi_type_tag kTag = {0x6e6f64652d646966, 0x67656e657261746f};

at::Generator make_generator(const std::string& device_name, bool is_default) {
  const auto device = parse_device(device_name);
  if (is_default) return at::globalContext().defaultGenerator(device);
  if (device.is_cpu()) return at::detail::createCPUGenerator();
  // A generator of its own, with the default generator's class and torch's default seed.
  auto generator = at::globalContext().defaultGenerator(device).clone();
  generator.set_current_seed(c10::default_rng_seed_val);
  return generator;
}

}  // namespace

void GeneratorHandle::define(Napi::Env env, Napi::Object exports) {
  auto constructor = DefineClass(env, "GeneratorHandle",
                                 {InstanceAccessor<&GeneratorHandle::device>("device"),
                                  InstanceMethod<&GeneratorHandle::manual_seed>("manualSeed"),
                                  InstanceMethod<&GeneratorHandle::get_state>("getState"),
                                  InstanceMethod<&GeneratorHandle::set_state>("setState")});
  addon_data(env).generator_constructor = Napi::Persistent(constructor);
  exports.Set("GeneratorHandle", constructor);
}

/// new GeneratorHandle(device: string, isDefault: boolean)
GeneratorHandle::GeneratorHandle(const Napi::CallbackInfo& info) : Napi::ObjectWrap<GeneratorHandle>(info) {
  guarded(info.Env(), [&] {
    generator_ = make_generator(info[0].As<Napi::String>(), info[1].ToBoolean());
    info.This().As<Napi::Object>().TypeTag(&kTag);
  });
}

bool GeneratorHandle::is_handle(const Napi::Value& value) {
  return value.IsObject() && value.As<Napi::Object>().CheckTypeTag(&kTag);
}

const at::Generator& GeneratorHandle::unwrap(const Napi::Value& value, const char* name) {
  if (!is_handle(value)) fail(ErrorCode::argument, name, " must be a Generator");
  return Napi::ObjectWrap<GeneratorHandle>::Unwrap(value.As<Napi::Object>())->generator_;
}

std::vector<at::Generator> GeneratorHandle::unwrap_list(const Napi::Value& value, const char* name) {
  if (value.IsUndefined() || value.IsNull()) return {};
  if (!value.IsArray()) return {unwrap(value, name)};
  const auto array = value.As<Napi::Array>();
  std::vector<at::Generator> generators;
  for (uint32_t i = 0; i < array.Length(); ++i) generators.push_back(unwrap(array[i], name));
  return generators;
}

void GeneratorHandle::manual_seed(const Napi::CallbackInfo& info) {
  guarded(info.Env(), [&] {
    bool lossless = false;
    const auto seed = info[0].As<Napi::BigInt>().Uint64Value(&lossless);
    std::lock_guard lock(generator_.mutex());
    generator_.set_current_seed(seed);
  });
}

Napi::Value GeneratorHandle::device(const Napi::CallbackInfo& info) {
  return Napi::String::New(info.Env(), generator_.device().str());
}

Napi::Value GeneratorHandle::get_state(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&] {
    std::lock_guard lock(generator_.mutex());
    return TensorHandle::wrap(info.Env(), generator_.get_state());
  });
}

void GeneratorHandle::set_state(const Napi::CallbackInfo& info) {
  guarded(info.Env(), [&] {
    std::lock_guard lock(generator_.mutex());
    generator_.set_state(TensorHandle::unwrap(info[0], "state"));
  });
}

}  // namespace nd::binding
