#include "core/checkpoint/pickle_globals.h"

#include <map>
#include <utility>

namespace nd {
namespace {

using Name = std::pair<std::string_view, std::string_view>;

const std::map<Name, PickleGlobal> kGlobals{
    {{"collections", "OrderedDict"}, PickleGlobal::ordered_dict},
    {{"torch._utils", "_rebuild_tensor"}, PickleGlobal::tensor},
    {{"torch._utils", "_rebuild_tensor_v2"}, PickleGlobal::tensor_v2},
    {{"torch._utils", "_rebuild_tensor_v3"}, PickleGlobal::tensor_v3},
    {{"torch._utils", "_rebuild_parameter"}, PickleGlobal::parameter},
    {{"torch", "Size"}, PickleGlobal::size},
    {{"torch.storage", "UntypedStorage"}, PickleGlobal::storage},
    {{"torch", "UntypedStorage"}, PickleGlobal::storage},
};

const std::map<Name, PickleGlobal> kScriptGlobals{
    {{"torch.jit._pickle", "build_intlist"}, PickleGlobal::script_list},
    {{"torch.jit._pickle", "build_doublelist"}, PickleGlobal::script_list},
    {{"torch.jit._pickle", "build_boollist"}, PickleGlobal::script_list},
    {{"torch.jit._pickle", "build_tensorlist"}, PickleGlobal::script_list},
    {{"torch.jit._pickle", "restore_type_tag"}, PickleGlobal::script_tagged},
    {{"torch", "device"}, PickleGlobal::script_device},
};

const std::map<std::string_view, at::ScalarType> kStorages{
    {"DoubleStorage", at::kDouble}, {"FloatStorage", at::kFloat}, {"HalfStorage", at::kHalf},
    {"BFloat16Storage", at::kBFloat16}, {"LongStorage", at::kLong}, {"IntStorage", at::kInt},
    {"ShortStorage", at::kShort}, {"CharStorage", at::kChar}, {"ByteStorage", at::kByte},
    {"BoolStorage", at::kBool}};

const std::map<std::string_view, at::ScalarType> kDtypes{
    {"float64", at::kDouble}, {"float32", at::kFloat}, {"float16", at::kHalf}, {"bfloat16", at::kBFloat16},
    {"int64", at::kLong}, {"int32", at::kInt}, {"int16", at::kShort}, {"int8", at::kChar},
    {"uint8", at::kByte}, {"bool", at::kBool}};

template <typename Key, typename Value>
std::optional<Value> look_up(const std::map<Key, Value>& table, const Key& key) {
  const auto found = table.find(key);
  return found == table.end() ? std::nullopt : std::optional<Value>(found->second);
}

}  // namespace

std::optional<PickleGlobal> find_global(std::string_view module, std::string_view name, PickleSource source) {
  if (module == "torch" && kStorages.contains(name)) return PickleGlobal::storage;
  if (module == "torch" && kDtypes.contains(name)) return PickleGlobal::dtype;
  if (source == PickleSource::torchscript) {
    if (module == "__torch__" || module.starts_with("__torch__.")) return PickleGlobal::script_class;
    if (const auto global = look_up(kScriptGlobals, {module, name})) return global;
  }
  return look_up(kGlobals, {module, name});
}

std::optional<at::ScalarType> dtype_of(std::string_view name) {
  const auto storage = look_up(kStorages, name);
  return storage ? storage : look_up(kDtypes, name);
}

}  // namespace nd
