#include "core/checkpoint/stored_tensors.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <bit>
#include <cstring>
#include <tuple>

#include "core/errors.h"

namespace nd {
namespace {

static_assert(std::endian::native == std::endian::little, "checkpoints' data are little-endian");

constexpr size_t kMaxRank = 64;

/// The bytes from a strided tensor's first entry to the end of its last, all strides being checked to be ≥ 0.
uint64_t strided_bytes(const TensorPlace& place, const std::string& what) {
  const auto& [shape, strides] = std::tie(place.info.shape, place.strides);
  if (strides.size() != shape.size()) fail(ErrorCode::checkpoint, what, " has ", strides.size(), " strides");
  uint64_t last = 0;
  bool empty = false, overflow = false;
  for (size_t i = 0; i < shape.size(); ++i) {
    if (strides[i] < 0) fail(ErrorCode::checkpoint, what, " has a negative stride");
    if (shape[i] == 0) empty = true;
    uint64_t step = 0;
    const auto steps = static_cast<uint64_t>(std::max<int64_t>(shape[i], 1)) - 1;
    overflow |= __builtin_mul_overflow(steps, static_cast<uint64_t>(strides[i]), &step);
    overflow |= __builtin_add_overflow(last, step, &last);
  }
  uint64_t bytes = 0;
  overflow |= __builtin_add_overflow(last, uint64_t{1}, &last);
  overflow |= __builtin_mul_overflow(last, c10::elementSize(place.info.dtype), &bytes);
  if (overflow) fail(ErrorCode::checkpoint, what, " has impossible strides");
  return empty ? 0 : bytes;
}

}  // namespace

uint64_t checked_bytes(const std::vector<int64_t>& shape, at::ScalarType dtype, const std::string& what) {
  if (shape.size() > kMaxRank) fail(ErrorCode::checkpoint, what, " has more than ", kMaxRank, " dimensions");
  // Zero counts as one until the end: libtorch's own strides do so too and must not overflow.
  int64_t bytes = static_cast<int64_t>(c10::elementSize(dtype));
  bool empty = false;
  for (const auto size : shape) {
    if (size < 0) fail(ErrorCode::checkpoint, what, " has a negative size in its shape");
    empty |= size == 0;
    if (__builtin_mul_overflow(bytes, std::max<int64_t>(size, 1), &bytes)) {
      fail(ErrorCode::checkpoint, what, " has a shape of more bytes than can be counted");
    }
  }
  return empty ? 0 : static_cast<uint64_t>(bytes);
}

StoredTensors::StoredTensors(std::string what, SharedBytes bytes, std::vector<TensorPlace> places)
    : what_(std::move(what)), bytes_(std::move(bytes)) {
  for (auto& place : places) {
    const auto tensor = what_ + ": tensor '" + place.info.name + "'";
    const auto dense = checked_bytes(place.info.shape, place.info.dtype, tensor);
    const auto needed = place.strides.empty() ? dense : strided_bytes(place, tensor);
    // An expanded view of few bytes must not become a tensor of terabytes.
    if (dense > place.storage.size()) {
      fail(ErrorCode::checkpoint, tensor, " has more entries than its ", place.storage.size(), " bytes hold");
    }
    if (place.first > place.storage.size() || needed > place.storage.size() - place.first) {
      fail(ErrorCode::checkpoint, tensor, " reaches beyond its ", place.storage.size(), " bytes");
    }
    auto name = place.info.name;
    const bool fresh = places_.emplace(std::move(name), std::move(place)).second;
    if (!fresh) fail(ErrorCode::checkpoint, tensor, " is there twice");
  }
  for (const auto& [name, place] : places_) entries_.push_back(place.info);
}

at::Tensor StoredTensors::read(const std::string& name) const {
  const auto found = places_.find(name);
  if (found == places_.end()) fail(ErrorCode::checkpoint, what_, " has no tensor '", name, "'");
  const auto& place = found->second;
  const auto& shape = place.info.shape;
  // A file's bool may be any byte, which C++'s must not be: read as a byte, then compared with 0.
  const bool is_bool = place.info.dtype == at::kBool;
  const auto dtype = is_bool ? at::kByte : place.info.dtype;
  if (place.verify) place.verify();
  const char* data = place.storage.data() + place.first;
  const auto options = at::TensorOptions().dtype(dtype);
  const auto dense = checked_bytes(shape, dtype, name);
  if (dense == 0) return at::empty(shape, options.dtype(place.info.dtype));
  const auto bytes = place.strides.empty() ? dense : strided_bytes(place, name);
  const auto size = c10::elementSize(dtype);
  if (reinterpret_cast<uintptr_t>(data) % size != 0) {
    // Copied as far as it reaches, at an address that its dtype may be read from.
    const auto aligned = at::empty({static_cast<int64_t>(bytes / size)}, options);
    std::memcpy(aligned.mutable_data_ptr(), data, bytes);
    return place.strides.empty() ? aligned.view(shape) : aligned.as_strided(shape, place.strides).contiguous();
  }
  const auto keep = [owner = bytes_.owner](void*) {};
  void* address = const_cast<char*>(data);
  const auto view = place.strides.empty() ? at::from_blob(address, shape, keep, options)
                                          : at::from_blob(address, shape, place.strides, keep, options).contiguous();
  return is_bool ? view.ne(0) : view;
}

}  // namespace nd
