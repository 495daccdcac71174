#pragma once

#include <ATen/core/Tensor.h>

#include <memory>
#include <string>
#include <vector>

namespace nd {

/// What a checkpoint says of one tensor before it is read.
struct TensorInfo {
  std::string name;
  std::vector<int64_t> shape;
  at::ScalarType dtype;
};

/// A checkpoint's tensors by name, each read when it is asked for. Opening one has checked everything that its files
/// say about names, shapes, dtypes and places; nothing in a file is ever executed.
class StateDict {
 public:
  virtual ~StateDict() = default;

  /// Sorted by name.
  virtual const std::vector<TensorInfo>& entries() const = 0;

  /// A row-major CPU tensor in the file's dtype, read-only: it may be a view of the mapped file, which it keeps mapped.
  /// Throws ERR_CHECKPOINT for a name that is not there.
  virtual at::Tensor read(const std::string& name) const = 0;

  /// The entry of this name, or null.
  const TensorInfo* find(const std::string& name) const;
};

/// Opens a checkpoint by what the file is, not by its name: safetensors, the index of a sharded one
/// (`*.safetensors.index.json`, `*.bin.index.json`), torch.save's zip (`.bin`: tensors only) or a TorchScript archive
/// (its parameters and buffers). Throws ERR_NOT_FOUND, ERR_CHECKPOINT, ERR_DTYPE.
std::shared_ptr<const StateDict> open_checkpoint(const std::string& path);

/// The same tensors under the names that today's diffusers gives them: see state_dict_names.
std::shared_ptr<const StateDict> with_current_names(std::shared_ptr<const StateDict> checkpoint);

}  // namespace nd
