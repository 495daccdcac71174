#pragma once

#include <ATen/core/Tensor.h>
#include <torch/csrc/jit/api/module.h>

#include <optional>
#include <vector>

namespace nd {

/// What a plain trace fixes in its graph and to() doesn't reach.
struct BakedConstants {
  /// The devices that operators are told by name, as in torch.ones(n, device='cpu').
  std::vector<at::Device> devices;
  /// The devices of constant tensors (of one dimension or more; scalars go anywhere).
  std::vector<at::Device> tensor_devices;
  /// Whether an operator is told the given dtype by name, as in x.to(torch.float32).
  bool dtype = false;
};

/// Looks through a module's forward and all that it calls, for its own dtype `dtype`.
BakedConstants find_baked_constants(const torch::jit::Module& module, std::optional<at::ScalarType> dtype);

}  // namespace nd
