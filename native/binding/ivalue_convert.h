#pragma once

#include <ATen/core/function_schema.h>
#include <ATen/core/ivalue.h>
#include <napi.h>

#include <string>
#include <vector>

namespace nd::binding {

/// An object's own enumerable keys, as strings: what something has put on Object.prototype is none of it.
Napi::Array own_keys(const Napi::Object& object);

/// The IValue of a JavaScript value, as a schema's argument wants it. Throws ERR_ARGUMENT, naming the argument, what it
/// got and what it wants. This and to_js are the one conversion that operators and TorchScript share.
c10::IValue to_ivalue(const Napi::Value& value, const c10::Argument& argument);

/// All arguments of a call: positional ones, then (where the last is a plain object that no argument wants as a dict)
/// by name. Defaults fill the rest. Throws ERR_ARGUMENT for a missing, unknown or mistyped one.
std::vector<c10::IValue> to_stack(const std::vector<Napi::Value>& values, const c10::FunctionSchema& schema,
                                  size_t first_argument);

/// The JavaScript value of a result: tensor handle, number (bigint past 2^53), boolean, string, null, array (lists and
/// tuples), plain object (NamedTuple, dict with string keys) or Map (other dicts).
Napi::Value to_js(Napi::Env env, const c10::IValue& value);

}  // namespace nd::binding
