#pragma once

#include "core/checkpoint/mapped_file.h"
#include "core/checkpoint/state_dict.h"

#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace nd {

/// The longest name of a tensor, in bytes; what is made of names (their parts, messages) takes up to 32 times as much.
constexpr size_t kMaxTensorName = 1024;

/// Where a tensor lies in a file's bytes.
struct TensorPlace {
  TensorInfo info;
  std::string_view storage;      // the bytes that the tensor may touch
  uint64_t first = 0;            // its first entry's place in them, in bytes
  std::vector<int64_t> strides;  // in entries; empty means row-major
  std::function<void()> verify;  // run before the bytes are used, where set
};

/// The bytes of a row-major tensor of this shape. Throws ERR_CHECKPOINT where a size is negative or they are too many
/// to count; `what` opens the message.
uint64_t checked_bytes(const std::vector<int64_t>& shape, at::ScalarType dtype, const std::string& what);

/// Tensors that lie in bytes in memory as they are; read() gives views of them where they are aligned and row-major.
class StoredTensors final : public StateDict {
 public:
  /// Throws ERR_CHECKPOINT for a tensor that reaches beyond its storage, and for two of one name. `what` is the file's
  /// name for messages.
  StoredTensors(std::string what, SharedBytes bytes, std::vector<TensorPlace> places);

  const std::vector<TensorInfo>& entries() const override { return entries_; }
  at::Tensor read(const std::string& name) const override;

 private:
  std::string what_;
  SharedBytes bytes_;
  std::vector<TensorInfo> entries_;
  std::map<std::string, TensorPlace> places_;
};

}  // namespace nd
