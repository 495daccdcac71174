#include "binding/tensor_wrap.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <cstring>

#include "binding/error_translation.h"
#include "binding/napi_setup.h"
#include "core/device.h"
#include "core/errors.h"

namespace nd::binding {
namespace {

constexpr napi_type_tag kTag = {0x6e6f64652d646966, 0x74656e736f722e31};

/// Through JavaScript's own constructor, whose RangeError can be caught; Node-API's ends the process without memory.
Napi::Value copy_out(Napi::Env env, const char* array_class, const at::Tensor& tensor) {
  Napi::Value made;
  try {
    made = env.Global().Get(array_class).As<Napi::Function>().New({Napi::Number::New(env, static_cast<double>(tensor.numel()))});
  } catch (const Napi::Error&) {
    fail(ErrorCode::out_of_memory, "no memory for a ", array_class, " of ", tensor.numel(), " entries");
  }
  const auto array = made.As<Napi::TypedArray>();
  if (tensor.numel() > 0) {
    std::memcpy(static_cast<char*>(array.ArrayBuffer().Data()) + array.ByteOffset(), tensor.const_data_ptr(), tensor.nbytes());
  }
  return made;
}

Napi::Value to_typed_array(Napi::Env env, const at::Tensor& tensor) {
  const auto dense = tensor.to(at::kCPU).contiguous();
  switch (dense.scalar_type()) {
    case at::kFloat: return copy_out(env, "Float32Array", dense);
    case at::kHalf:
    case at::kBFloat16: return copy_out(env, "Float32Array", dense.to(at::kFloat));
    case at::kDouble: return copy_out(env, "Float64Array", dense);
    case at::kLong: return copy_out(env, "BigInt64Array", dense);
    case at::kInt: return copy_out(env, "Int32Array", dense);
    case at::kByte:
    case at::kBool: return copy_out(env, "Uint8Array", dense);
    default: fail(ErrorCode::dtype, "a tensor of dtype ", dtype_name(dense.scalar_type()), " has no typed array");
  }
}

}  // namespace

void TensorHandle::define(Napi::Env env, Napi::Object exports) {
  auto constructor = DefineClass(env, "TensorHandle",
                                 {InstanceAccessor<&TensorHandle::shape>("shape"),
                                  InstanceAccessor<&TensorHandle::dtype>("dtype"),
                                  InstanceAccessor<&TensorHandle::device>("device"),
                                  InstanceAccessor<&TensorHandle::disposed>("disposed"),
                                  InstanceMethod<&TensorHandle::data>("data"),
                                  InstanceMethod<&TensorHandle::dispose>("dispose")});
  addon_data(env).tensor_constructor = Napi::Persistent(constructor);
  exports.Set("TensorHandle", constructor);
  exports.Set("tensorFrom", Napi::Function::New(env, tensor_from, "tensorFrom"));
}

Napi::Value TensorHandle::wrap(Napi::Env env, at::Tensor tensor) {
  return addon_data(env).tensor_constructor.New({Napi::External<at::Tensor>::New(env, &tensor)});
}

TensorHandle::TensorHandle(const Napi::CallbackInfo& info) : Napi::ObjectWrap<TensorHandle>(info) {
  const auto env = info.Env();
  if (info.Length() != 1 || !info[0].IsExternal()) {
    throw Napi::TypeError::New(env, "TensorHandle has no public constructor");
  }
  tensor_ = *info[0].As<Napi::External<at::Tensor>>().Data();
  info.This().As<Napi::Object>().TypeTag(&kTag);
  // A view may be larger than its storage (expand) or smaller (slice): what keeps memory alive is at most either. A
  // sparse tensor has none of its own.
  if (tensor_.has_storage()) told_v8_ = static_cast<int64_t>(std::min<size_t>(tensor_.nbytes(), tensor_.storage().nbytes()));
  Napi::MemoryManagement::AdjustExternalMemory(env, told_v8_);
}

void TensorHandle::Finalize(Napi::Env env) { release(env); }

void TensorHandle::release(Napi::Env env) {
  if (told_v8_ != 0) Napi::MemoryManagement::AdjustExternalMemory(env, -told_v8_);
  told_v8_ = 0;
  tensor_.reset();
}

bool TensorHandle::is_handle(const Napi::Value& value) {
  return value.IsObject() && value.As<Napi::Object>().CheckTypeTag(&kTag);
}

const at::Tensor& TensorHandle::unwrap(const Napi::Value& value, const char* name) {
  if (!is_handle(value)) fail(ErrorCode::argument, name, " must be a Tensor");
  const auto& tensor = Napi::ObjectWrap<TensorHandle>::Unwrap(value.As<Napi::Object>())->tensor_;
  if (!tensor.defined()) fail(ErrorCode::disposed, name, " is a Tensor that was disposed");
  return tensor;
}

const at::Tensor& TensorHandle::live() const {
  if (!tensor_.defined()) fail(ErrorCode::disposed, "this Tensor was disposed");
  return tensor_;
}

Napi::Value TensorHandle::shape(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&]() -> Napi::Value {
    const auto sizes = live().sizes();
    auto shape = Napi::Array::New(info.Env(), sizes.size());
    for (size_t i = 0; i < sizes.size(); ++i) shape[i] = Napi::Number::New(info.Env(), static_cast<double>(sizes[i]));
    return shape;
  });
}

Napi::Value TensorHandle::dtype(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&]() -> Napi::Value {
    return Napi::String::New(info.Env(), dtype_name(live().scalar_type()));
  });
}

Napi::Value TensorHandle::device(const Napi::CallbackInfo& info) {
  return guarded(info.Env(),
                 [&]() -> Napi::Value { return Napi::String::New(info.Env(), live().device().str()); });
}

Napi::Value TensorHandle::data(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&] { return to_typed_array(info.Env(), live()); });
}

Napi::Value TensorHandle::disposed(const Napi::CallbackInfo& info) {
  return Napi::Boolean::New(info.Env(), !tensor_.defined());
}

void TensorHandle::dispose(const Napi::CallbackInfo& info) { release(info.Env()); }

Napi::Value tensor_from(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&] {
    const auto shape = integers(info[1], "shape");
    const auto dtype = parse_dtype(info[2].As<Napi::String>());
    // After the shape, whose entries may be getters that detach the buffer or resize it.
    const auto array = info[0].As<Napi::TypedArray>();
    auto tensor = at::empty(shape, dtype);
    if (tensor.nbytes() != array.ByteLength()) {
      fail(ErrorCode::shape, "shape ", at::IntArrayRef(shape), " wants ", tensor.numel(), " entries, the data has ",
           array.ByteLength() / c10::elementSize(dtype));
    }
    // Copied: JavaScript can detach a buffer under us.
    const auto* bytes = static_cast<const char*>(array.ArrayBuffer().Data()) + array.ByteOffset();
    if (array.ByteLength() > 0) std::memcpy(tensor.mutable_data_ptr(), bytes, array.ByteLength());
    return TensorHandle::wrap(info.Env(), tensor);
  });
}

std::vector<int64_t> integers(const Napi::Value& value, const char* name) {
  if (!value.IsArray()) fail(ErrorCode::argument, name, " must be an array of integers");
  const auto array = value.As<Napi::Array>();
  const uint32_t length = array.Length();  // once: an entry may be a getter that changes it
  std::vector<int64_t> result(length);
  for (uint32_t i = 0; i < length; ++i) {
    const Napi::Value entry = array[i];
    const double number = entry.IsNumber() ? entry.As<Napi::Number>().DoubleValue() : NAN;
    if (std::trunc(number) != number || std::abs(number) > 9007199254740991.0) {
      fail(ErrorCode::argument, name, " must hold integers, got another value at index ", i);
    }
    result[i] = static_cast<int64_t>(number);
  }
  return result;
}

}  // namespace nd::binding
