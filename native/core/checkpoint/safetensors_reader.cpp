#include "core/checkpoint/safetensors_reader.h"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <cstring>
#include <limits>

#include "core/checkpoint/stored_tensors.h"
#include "core/errors.h"
#include "core/json.h"

namespace nd {
namespace {

using nlohmann::json;

constexpr uint64_t kLengthSize = 8;
constexpr uint64_t kMaxHeader = 100'000'000;  // as the reference implementation

at::ScalarType parse_dtype(const json& dtype, const std::string& tensor) {
  static const std::pair<const char*, at::ScalarType> kDtypes[] = {
      {"F64", at::kDouble}, {"F32", at::kFloat}, {"F16", at::kHalf},  {"BF16", at::kBFloat16}, {"I64", at::kLong},
      {"I32", at::kInt},    {"I16", at::kShort}, {"I8", at::kChar}, {"U8", at::kByte},       {"BOOL", at::kBool}};
  std::string names;
  for (const auto& [name, value] : kDtypes) {
    if (dtype == name) return value;
    names += std::string(names.empty() ? "" : ", ") + name;
  }
  fail(ErrorCode::dtype, tensor, " must have a dtype out of ", names, ", got ", show_json(dtype));
}

/// Non-negative integers below 2⁶³.
std::vector<int64_t> parse_sizes(const json& sizes, const char* key, const std::string& tensor) {
  std::vector<int64_t> numbers;
  bool fits = sizes.is_array();
  for (const auto& size : fits ? sizes : json::array()) {
    fits &= size.is_number_unsigned() && size.get<uint64_t>() <= std::numeric_limits<int64_t>::max();
    if (fits) numbers.push_back(static_cast<int64_t>(size.get<uint64_t>()));
  }
  if (!fits) fail(ErrorCode::checkpoint, tensor, " must have as ", key, " integers from 0 on, got ", show_json(sizes));
  return numbers;
}

void check_metadata(const json& metadata, const std::string& what) {
  const bool fits = metadata.is_object() &&
                    std::all_of(metadata.begin(), metadata.end(), [](const json& value) { return value.is_string(); });
  if (!fits) fail(ErrorCode::checkpoint, what, ": __metadata__ must be an object of strings");
}

TensorPlace parse_entry(const std::string& name, const json& entry, std::string_view data, const std::string& what) {
  if (name.size() > kMaxTensorName) {
    fail(ErrorCode::checkpoint, what, " has a tensor with a name of ", name.size(), " bytes");
  }
  const auto tensor = what + ": tensor '" + name + "'";
  for (const char* key : {"dtype", "shape", "data_offsets"}) {
    if (!entry.is_object() || !entry.contains(key)) fail(ErrorCode::checkpoint, tensor, " must have a ", key);
  }
  TensorPlace place;
  place.info = {name, parse_sizes(entry["shape"], "shape", tensor), parse_dtype(entry["dtype"], tensor)};
  const auto offsets = parse_sizes(entry["data_offsets"], "data_offsets", tensor);
  if (offsets.size() != 2 || offsets[0] > offsets[1] || static_cast<uint64_t>(offsets[1]) > data.size()) {
    fail(ErrorCode::checkpoint, tensor, " must have data_offsets within the file's ", data.size(),
         " bytes of data, got ", show_json(entry["data_offsets"]));
  }
  place.storage = data.substr(static_cast<size_t>(offsets[0]), static_cast<size_t>(offsets[1] - offsets[0]));
  const auto bytes = checked_bytes(place.info.shape, place.info.dtype, tensor);
  if (bytes != place.storage.size()) {
    fail(ErrorCode::checkpoint, tensor, " has ", place.storage.size(), " bytes of data, its shape and dtype want ",
         bytes);
  }
  return place;
}

/// Every byte of the data belongs to one tensor: what a file does not show can't hide in it.
void check_cover(std::vector<TensorPlace>& places, std::string_view data, const std::string& what) {
  std::sort(places.begin(), places.end(), [](const auto& a, const auto& b) {
    return std::pair(a.storage.data(), a.storage.size()) < std::pair(b.storage.data(), b.storage.size());
  });
  const char* end = data.data();
  for (const auto& place : places) {
    if (place.storage.data() != end) {
      fail(ErrorCode::checkpoint, what, ": tensor '", place.info.name, "' ",
           place.storage.data() < end ? "overlaps the one before" : "leaves a hole before it");
    }
    end += place.storage.size();
  }
  if (end != data.data() + data.size()) {
    fail(ErrorCode::checkpoint, what, " has ", data.data() + data.size() - end, " bytes behind its last tensor");
  }
}

uint64_t header_length(std::string_view bytes) {
  uint64_t length = 0;
  std::memcpy(&length, bytes.data(), sizeof length);
  return length;
}

}  // namespace

bool looks_like_safetensors(std::string_view bytes) {
  return bytes.size() > kLengthSize && bytes[kLengthSize] == '{' && header_length(bytes) <= kMaxHeader;
}

std::shared_ptr<const StateDict> read_safetensors(const SharedBytes& bytes, const std::string& what) {
  if (!looks_like_safetensors(bytes.view)) fail(ErrorCode::checkpoint, what, " is no safetensors file");
  const auto length = header_length(bytes.view);
  if (length > bytes.view.size() - kLengthSize) {
    fail(ErrorCode::checkpoint, what, " is truncated: its header has ", length, " bytes, the file ", bytes.view.size());
  }
  const auto header = parse_json(bytes.view.substr(kLengthSize, length), {.bytes = kMaxHeader, .depth = 4},
                                 what + "'s header", ErrorCode::checkpoint);
  const auto data = bytes.view.substr(kLengthSize + length);
  std::vector<TensorPlace> places;
  for (const auto& [name, entry] : header.items()) {
    if (name == "__metadata__") {
      check_metadata(entry, what);
    } else {
      places.push_back(parse_entry(name, entry, data, what));
    }
  }
  check_cover(places, data, what);
  return std::make_shared<StoredTensors>(what, bytes, std::move(places));
}

}  // namespace nd
