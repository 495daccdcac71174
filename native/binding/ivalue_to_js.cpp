#include <ATen/ATen.h>
#include <ATen/core/jit_type.h>

#include <cmath>

#include "binding/ivalue_convert.h"
#include "binding/tensor_wrap.h"
#include "core/errors.h"

namespace nd::binding {
namespace {

constexpr double kMaxSafeInteger = 9007199254740991.0;

Napi::Value integer_to_js(Napi::Env env, int64_t value) {
  if (std::abs(static_cast<double>(value)) <= kMaxSafeInteger) return Napi::Number::New(env, static_cast<double>(value));
  return Napi::BigInt::New(env, value);
}

template <typename List>
Napi::Value list_to_js(Napi::Env env, const List& list) {
  auto array = Napi::Array::New(env, list.size());
  for (size_t i = 0; i < list.size(); ++i) array[i] = to_js(env, c10::IValue(list[i]));
  return array;
}

Napi::Value tuple_to_js(Napi::Env env, const c10::IValue& value) {
  const auto tuple = value.toTuple();
  const auto& elements = tuple->elements();
  const auto schema = tuple->type()->schema();
  if (!schema) return list_to_js(env, elements.vec());
  auto object = Napi::Object::New(env);
  for (size_t i = 0; i < elements.size(); ++i) object.Set(schema->arguments()[i].name(), to_js(env, elements[i]));
  return object;
}

Napi::Value dict_to_js(Napi::Env env, const c10::IValue& value) {
  const auto dict = value.toGenericDict();
  if (dict.keyType()->kind() == c10::TypeKind::StringType) {
    auto object = Napi::Object::New(env);
    for (const auto& entry : dict) {
      // Defined, not assigned: a key named __proto__ stays a key.
      object.DefineProperty(Napi::PropertyDescriptor::Value(entry.key().toStringRef(), to_js(env, entry.value()),
                                                            napi_default_jsproperty));
    }
    return object;
  }
  auto map = env.Global().Get("Map").As<Napi::Function>().New({});
  const auto set = map.Get("set").As<Napi::Function>();
  for (const auto& entry : dict) set.Call(map, {to_js(env, entry.key()), to_js(env, entry.value())});
  return map;
}

}  // namespace

Napi::Value to_js(Napi::Env env, const c10::IValue& value) {
  if (value.isNone()) return env.Null();
  if (value.isTensor()) {
    const auto& tensor = value.toTensor();
    return tensor.defined() ? TensorHandle::wrap(env, tensor) : env.Null();
  }
  if (value.isDouble()) return Napi::Number::New(env, value.toDouble());
  if (value.isInt()) return integer_to_js(env, value.toInt());
  if (value.isBool()) return Napi::Boolean::New(env, value.toBool());
  if (value.isString()) return Napi::String::New(env, value.toStringRef());
  if (value.isDevice()) return Napi::String::New(env, value.toDevice().str());
  if (value.isTuple()) return tuple_to_js(env, value);
  if (value.isList()) return list_to_js(env, value.toListRef().vec());
  if (value.isGenericDict()) return dict_to_js(env, value);
  fail(ErrorCode::argument, "a result of type ", value.tagKind(), " has no JavaScript counterpart");
}

}  // namespace nd::binding
