#include "binding/ivalue_convert.h"

#include <ATen/ATen.h>
#include <ATen/core/jit_type.h>

#include <cmath>
#include <optional>

#include "binding/generator_wrap.h"
#include "binding/tensor_wrap.h"
#include "core/device.h"
#include "core/errors.h"

namespace nd::binding {
namespace {

std::string describe(const Napi::Value& value) {
  if (TensorHandle::is_handle(value)) return "a Tensor";
  if (value.IsNull()) return "null";
  if (value.IsUndefined()) return "undefined";
  if (value.IsArray()) return "an array";
  if (value.IsTypedArray()) return "a typed array";
  if (value.IsString()) return "'" + value.As<Napi::String>().Utf8Value().substr(0, 60) + "'";
  if (value.IsNumber() || value.IsBoolean()) return value.ToString();
  if (value.IsBigInt()) return value.ToString().Utf8Value() + "n";
  if (value.IsFunction()) return "a function";
  return "an object";
}

[[noreturn]] void refuse(const std::string& name, const std::string& wanted, const Napi::Value& got) {
  fail(ErrorCode::argument, name, " must be ", wanted, ", got ", describe(got));
}

/// nullopt where the value is no exact integer.
std::optional<int64_t> as_integer(const Napi::Value& value) {
  if (value.IsBigInt()) {
    bool lossless = false;
    const auto integer = value.As<Napi::BigInt>().Int64Value(&lossless);
    return lossless ? std::optional(integer) : std::nullopt;
  }
  if (!value.IsNumber()) return std::nullopt;
  const double number = value.As<Napi::Number>().DoubleValue();
  if (std::trunc(number) != number || std::abs(number) > 9007199254740991.0) return std::nullopt;
  return static_cast<int64_t>(number);
}

at::MemoryFormat parse_memory_format(const std::string& name, const std::string& argument) {
  if (name == "contiguous" || name == "contiguous_format") return at::MemoryFormat::Contiguous;
  if (name == "channelsLast" || name == "channels_last") return at::MemoryFormat::ChannelsLast;
  if (name == "preserve" || name == "preserve_format") return at::MemoryFormat::Preserve;
  fail(ErrorCode::argument, argument, " must be 'contiguous_format', 'channels_last' or 'preserve_format', got '", name, "'");
}

bool is_enum(const c10::Type& real_type) {
  return real_type.kind() == c10::TypeKind::ScalarTypeType || real_type.kind() == c10::TypeKind::MemoryFormatType ||
         real_type.kind() == c10::TypeKind::LayoutType;
}

/// dtype, layout and memory format are integers to the schema's plain type; only their real type says that the value is
/// one of a few. A number that is none of them would send libtorch out of its tables.
c10::IValue enum_to_ivalue(const Napi::Value& value, const c10::Type& real_type, const std::string& name) {
  if (!value.IsString()) refuse(name, "a string such as 'float32', 'channels_last' or 'strided'", value);
  const std::string text = value.As<Napi::String>();
  if (real_type.kind() == c10::TypeKind::ScalarTypeType) return static_cast<int64_t>(parse_dtype(text));
  if (real_type.kind() == c10::TypeKind::MemoryFormatType) return static_cast<int64_t>(parse_memory_format(text, name));
  if (text == "strided") return static_cast<int64_t>(at::Layout::Strided);
  fail(ErrorCode::argument, name, " must be 'strided', got '", text, "'");
}

c10::IValue convert(const Napi::Value& value, const c10::TypePtr& type, const c10::Type& real_type,
                    const std::string& name);

/// A bound on what a typing error may allocate: each entry takes some 50 bytes on its way.
constexpr uint32_t kLongestList = 1 << 20;

c10::IValue list_to_ivalue(const Napi::Value& value, const c10::TypePtr& element, const std::string& name) {
  const auto array = value.As<Napi::Object>();  // an Array or a TypedArray: both index alike
  const auto length = array.Get("length").As<Napi::Number>().Uint32Value();
  if (length > kLongestList) fail(ErrorCode::argument, name, " must have at most ", kLongestList, " entries, got ", length);
  c10::impl::GenericList list(element);
  list.reserve(length);
  for (uint32_t i = 0; i < length; ++i) {
    list.push_back(convert(array.Get(i), element, *element, name + "[" + std::to_string(i) + "]"));
  }
  return list;
}

/// A positional tuple from an array; a NamedTuple also from an object with its fields.
c10::IValue tuple_to_ivalue(const Napi::Value& value, const c10::TupleTypePtr& type, const std::string& name) {
  const auto& elements = type->elements();
  const auto schema = type->schema();
  std::vector<c10::IValue> fields;
  if (value.IsArray()) {
    const auto array = value.As<Napi::Array>();
    if (array.Length() != elements.size()) {
      fail(ErrorCode::argument, name, " must have ", elements.size(), " entries, got ", array.Length());
    }
    for (uint32_t i = 0; i < elements.size(); ++i) {
      fields.push_back(convert(array.Get(i), elements[i], *elements[i], name + "[" + std::to_string(i) + "]"));
    }
  } else if (schema && value.IsObject()) {
    for (size_t i = 0; i < elements.size(); ++i) {
      const auto& field = schema->arguments()[i].name();
      fields.push_back(convert(value.As<Napi::Object>().Get(field), elements[i], *elements[i], name + "." + field));
    }
  } else {
    refuse(name, "a tuple " + type->repr_str(), value);
  }
  return schema ? c10::ivalue::Tuple::createNamed(std::move(fields), type) : c10::ivalue::Tuple::create(std::move(fields));
}

c10::IValue dict_to_ivalue(const Napi::Value& value, const c10::DictTypePtr& type, const std::string& name) {
  c10::impl::GenericDict dict(type->getKeyType(), type->getValueType());
  const auto insert = [&](const Napi::Value& key, const Napi::Value& entry) {
    const std::string label = name + "[" + describe(key) + "]";
    dict.insert(convert(key, type->getKeyType(), *type->getKeyType(), label),
                convert(entry, type->getValueType(), *type->getValueType(), label));
  };
  const auto object = value.As<Napi::Object>();
  const auto map_class = value.Env().Global().Get("Map").As<Napi::Function>();
  if (object.InstanceOf(map_class)) {
    const auto from = value.Env().Global().Get("Array").As<Napi::Object>().Get("from").As<Napi::Function>();
    const auto entries = from.Call({value}).As<Napi::Array>();
    for (uint32_t i = 0; i < entries.Length(); ++i) {
      const auto pair = entries.Get(i).As<Napi::Array>();
      insert(pair.Get(0u), pair.Get(1u));
    }
  } else {
    const auto keys = own_keys(object);
    for (uint32_t i = 0; i < keys.Length(); ++i) insert(keys.Get(i), object.Get(keys.Get(i)));
  }
  return dict;
}

/// What a value is where the schema says Any.
c10::IValue infer(const Napi::Value& value, const std::string& name) {
  if (TensorHandle::is_handle(value)) return TensorHandle::unwrap(value, name.c_str());
  if (value.IsNull() || value.IsUndefined()) return {};
  if (value.IsBoolean()) return value.As<Napi::Boolean>().Value();
  if (value.IsString()) return std::string(value.As<Napi::String>());
  if (const auto integer = as_integer(value)) return *integer;
  if (value.IsNumber()) return value.As<Napi::Number>().DoubleValue();
  refuse(name, "a tensor, a number, a boolean, a string or null", value);
}

bool is_list_like(const Napi::Value& value) { return value.IsArray() || value.IsTypedArray(); }

c10::IValue convert(const Napi::Value& value, const c10::TypePtr& type, const c10::Type& real_type,
                    const std::string& name) {
  if (is_enum(real_type)) return enum_to_ivalue(value, real_type, name);
  switch (type->kind()) {
    case c10::TypeKind::TensorType: return TensorHandle::unwrap(value, name.c_str());
    case c10::TypeKind::OptionalType: {
      if (value.IsNull() || value.IsUndefined()) return {};
      const auto element = type->expectRef<c10::OptionalType>().getElementType();
      const auto* real = real_type.kind() == c10::TypeKind::OptionalType
                             ? real_type.expectRef<c10::OptionalType>().getElementType().get()
                             : element.get();
      return convert(value, element, *real, name);
    }
    case c10::TypeKind::IntType:
    case c10::TypeKind::SymIntType:
      if (const auto integer = as_integer(value)) return *integer;
      refuse(name, "an integer", value);
    case c10::TypeKind::FloatType:
      if (value.IsNumber()) return value.As<Napi::Number>().DoubleValue();
      refuse(name, "a number", value);
    case c10::TypeKind::NumberType:
      if (const auto integer = as_integer(value)) return *integer;  // an integral number is an int Scalar
      if (value.IsNumber()) return value.As<Napi::Number>().DoubleValue();
      if (value.IsBoolean()) return value.As<Napi::Boolean>().Value();
      refuse(name, "a number", value);
    case c10::TypeKind::BoolType:
      if (value.IsBoolean()) return value.As<Napi::Boolean>().Value();
      refuse(name, "a boolean", value);
    case c10::TypeKind::StringType:
      if (value.IsString()) return std::string(value.As<Napi::String>());
      refuse(name, "a string", value);
    case c10::TypeKind::DeviceObjType:
      if (value.IsString()) return parse_device(value.As<Napi::String>());
      refuse(name, "a device such as 'cpu' or 'cuda:0'", value);
    case c10::TypeKind::GeneratorType: return GeneratorHandle::unwrap(value, name.c_str());
    case c10::TypeKind::NoneType:
      if (value.IsNull() || value.IsUndefined()) return {};
      refuse(name, "null", value);
    case c10::TypeKind::ListType:
      if (!is_list_like(value)) refuse(name, "an array (" + type->repr_str() + ")", value);
      return list_to_ivalue(value, type->expectRef<c10::ListType>().getElementType(), name);
    case c10::TypeKind::TupleType: return tuple_to_ivalue(value, type->expect<c10::TupleType>(), name);
    case c10::TypeKind::DictType:
      if (!value.IsObject() || is_list_like(value)) refuse(name, "an object or a Map (" + type->repr_str() + ")", value);
      return dict_to_ivalue(value, type->expect<c10::DictType>(), name);
    case c10::TypeKind::AnyType: return infer(value, name);
    default: refuse(name, "a " + type->repr_str() + ", which has no JavaScript counterpart", value);
  }
}

/// A plain object (not an array, a handle or a Map): what may hold arguments by name.
bool is_plain_object(const Napi::Value& value) {
  if (!value.IsObject() || is_list_like(value) || value.IsFunction() || value.IsExternal() ||
      TensorHandle::is_handle(value) || GeneratorHandle::is_handle(value)) {
    return false;
  }
  return !value.As<Napi::Object>().InstanceOf(value.Env().Global().Get("Map").As<Napi::Function>());
}

bool wants_object(const c10::Type& type) {
  switch (type.kind()) {
    case c10::TypeKind::DictType: return true;
    case c10::TypeKind::TupleType: return type.expectRef<c10::TupleType>().schema() != nullptr;
    case c10::TypeKind::OptionalType: return wants_object(*type.expectRef<c10::OptionalType>().getElementType());
    default: return false;
  }
}

}  // namespace

Napi::Array own_keys(const Napi::Object& object) {
  napi_value keys = nullptr;
  constexpr auto filter = static_cast<napi_key_filter>(napi_key_enumerable | napi_key_skip_symbols);
  const auto status = napi_get_all_property_names(object.Env(), object, napi_key_own_only, filter, napi_key_numbers_to_strings, &keys);
  NAPI_THROW_IF_FAILED(object.Env(), status, Napi::Array());
  return {object.Env(), keys};
}

c10::IValue to_ivalue(const Napi::Value& value, const c10::Argument& argument) {
  // int[2] and its like take one number for all entries, as torch does.
  if (argument.N() && (value.IsNumber() || value.IsBigInt())) {
    const auto array = Napi::Array::New(value.Env(), *argument.N());
    for (int32_t i = 0; i < *argument.N(); ++i) array.Set(static_cast<uint32_t>(i), value);
    return convert(array, argument.type(), *argument.real_type(), argument.name());
  }
  return convert(value, argument.type(), *argument.real_type(), argument.name());
}

std::vector<c10::IValue> to_stack(const std::vector<Napi::Value>& values, const c10::FunctionSchema& schema,
                                  size_t first_argument) {
  const auto& arguments = schema.arguments();
  size_t positional = values.size();
  std::optional<Napi::Object> named;
  if (positional > 0 && is_plain_object(values.back())) {
    const auto position = first_argument + positional - 1;
    const bool is_argument = position < arguments.size() && !arguments[position].kwarg_only() &&
                             wants_object(*arguments[position].type());
    if (!is_argument) {
      named = values.back().As<Napi::Object>();
      --positional;
    }
  }
  std::vector<c10::IValue> stack;
  size_t named_used = 0;
  for (size_t i = first_argument; i < arguments.size(); ++i) {
    const auto& argument = arguments[i];
    const auto position = i - first_argument;
    Napi::Value value = values.empty() ? Napi::Value() : values.front().Env().Undefined();
    bool given = false;
    if (position < positional && !argument.kwarg_only()) {
      value = values[position];
      given = !value.IsUndefined();
    } else if (named && named->HasOwnProperty(argument.name())) {
      value = named->Get(argument.name());
      given = !value.IsUndefined();
      ++named_used;
    }
    if (given) {
      stack.push_back(to_ivalue(value, argument));
    } else if (argument.default_value()) {
      stack.push_back(*argument.default_value());
    } else {
      fail(ErrorCode::argument, schema.name(), ": ", argument.name(), " (", argument.type()->repr_str(), ") is missing");
    }
  }
  const auto takes = static_cast<size_t>(std::count_if(arguments.begin() + static_cast<std::ptrdiff_t>(first_argument),
                                                       arguments.end(), [](const auto& a) { return !a.kwarg_only(); }));
  if (positional > takes) fail(ErrorCode::argument, schema.name(), " takes ", takes, " arguments, got ", positional);
  const auto keys = named ? own_keys(*named) : Napi::Array();
  if (named && named_used != keys.Length()) {
    for (uint32_t i = 0; i < keys.Length(); ++i) {
      const std::string key = keys.Get(i).As<Napi::String>();
      const bool known = std::any_of(arguments.begin(), arguments.end(), [&](const auto& a) { return a.name() == key; });
      if (!known) fail(ErrorCode::argument, schema.name(), " has no argument '", key, "'");
    }
    fail(ErrorCode::argument, schema.name(), ": an argument is given both by position and by name");
  }
  return stack;
}

}  // namespace nd::binding
