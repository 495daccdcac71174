#include "binding/ops_wrap.h"

#include <ATen/core/dispatch/Dispatcher.h>
#include <torch/csrc/jit/runtime/operator.h>

#include <algorithm>
#include <mutex>
#include <set>
#include <string>
#include <unordered_map>
#include <vector>

#include "binding/error_translation.h"
#include "binding/ivalue_convert.h"
#include "core/errors.h"

namespace nd::binding {
namespace {

/// Operators that read or write files.
const std::set<std::string> kFileOperators = {"from_file", "save", "load", "_save", "_load"};

bool is_exposed(const std::string& name) { return !name.empty() && name.front() != '_' && !kFileOperators.contains(name); }

bool has_out_argument(const c10::FunctionSchema& schema) {
  return std::any_of(schema.arguments().begin(), schema.arguments().end(), [](const auto& a) { return a.is_out(); });
}

using Overloads = std::vector<c10::OperatorHandle>;

/// The overloads of aten::name, the unnamed one first, then in the order libtorch registered them.
Overloads find_overloads(const std::string& name) {
  Overloads overloads;
  if (!is_exposed(name)) return overloads;
  for (const auto& op : torch::jit::getAllOperatorsFor(c10::Symbol::fromQualString("aten::" + name))) {
    const auto handle = c10::Dispatcher::singleton().findSchema(op->schema().operator_name());
    if (handle && !has_out_argument(handle->schema())) overloads.push_back(*handle);
  }
  std::stable_partition(overloads.begin(), overloads.end(),
                        [](const auto& op) { return op.schema().overload_name().empty(); });
  return overloads;
}

const Overloads& overloads_of(const std::string& name) {
  static std::mutex mutex;
  static std::unordered_map<std::string, Overloads> cache;
  std::lock_guard lock(mutex);
  const auto found = cache.find(name);
  if (found != cache.end()) return found->second;
  auto overloads = find_overloads(name);
  if (overloads.empty()) fail(ErrorCode::argument, "ops.aten has no operator '", name, "'");
  return cache.emplace(name, std::move(overloads)).first->second;
}

struct Call {
  c10::OperatorHandle op;
  std::vector<c10::IValue> stack;
};

/// The first overload that takes these arguments. Where none does, the error says what each wanted.
Call resolve(const std::string& name, const Overloads& overloads, const std::vector<Napi::Value>& values) {
  std::string reasons;
  for (const auto& op : overloads) {
    try {
      return {op, to_stack(values, op.schema(), 0)};
    } catch (const Error& e) {
      // A string that is no dtype or device may be another overload's device or dtype.
      if (e.code() != ErrorCode::argument && e.code() != ErrorCode::dtype && e.code() != ErrorCode::device) throw;
      if (overloads.size() == 1 && e.code() != ErrorCode::argument) throw;
      if (overloads.size() == 1) fail(ErrorCode::argument, "ops.aten.", name, ": ", e.what());
      if (reasons.size() < 1500) {
        const auto& overload = op.schema().overload_name();
        reasons += "\n  " + name + (overload.empty() ? "" : "." + overload) + ": " + e.what();
      }
    }
  }
  fail(ErrorCode::argument, "ops.aten.", name, " has no overload for these arguments:", reasons);
}

/// callOp(name: 'add' | 'add.Tensor', args: unknown[]): unknown
Napi::Value call_op(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&]() -> Napi::Value {
    const std::string full_name = info[0].As<Napi::String>();
    const auto array = info[1].As<Napi::Array>();
    std::vector<Napi::Value> values;
    for (uint32_t i = 0; i < array.Length(); ++i) values.push_back(array.Get(i));

    const auto dot = full_name.find('.');
    const auto& all = overloads_of(full_name.substr(0, dot));
    Overloads chosen;
    if (dot != std::string::npos) {
      const auto overload = full_name.substr(dot + 1);
      std::copy_if(all.begin(), all.end(), std::back_inserter(chosen),
                   [&](const auto& op) { return op.schema().overload_name() == overload; });
      if (chosen.empty()) fail(ErrorCode::argument, "ops.aten has no overload '", full_name, "'");
    }
    auto call = resolve(full_name, dot == std::string::npos ? all : chosen, values);
    call.op.callBoxed(&call.stack);
    if (call.stack.empty()) return info.Env().Undefined();
    if (call.stack.size() == 1) return to_js(info.Env(), call.stack.front());
    auto results = Napi::Array::New(info.Env(), call.stack.size());
    for (size_t i = 0; i < call.stack.size(); ++i) results[i] = to_js(info.Env(), call.stack[i]);
    return results;
  });
}

/// opNames(): string[] — every operator that callOp takes, without overload names.
Napi::Value op_names(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&]() -> Napi::Value {
    std::set<std::string> names;
    for (const auto& op : c10::Dispatcher::singleton().getAllOpNames()) {
      if (!op.name.starts_with("aten::")) continue;
      const auto name = op.name.substr(6);
      if (is_exposed(name) && !names.contains(name) && !find_overloads(name).empty()) names.insert(name);
    }
    auto array = Napi::Array::New(info.Env(), names.size());
    uint32_t i = 0;
    for (const auto& name : names) array[i++] = Napi::String::New(info.Env(), name);
    return array;
  });
}

}  // namespace

void define_ops(Napi::Env env, Napi::Object exports) {
  exports.Set("callOp", Napi::Function::New(env, call_op, "callOp"));
  exports.Set("opNames", Napi::Function::New(env, op_names, "opNames"));
}

}  // namespace nd::binding
