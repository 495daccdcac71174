#pragma once

#include <ATen/core/ScalarType.h>

#include <optional>
#include <string_view>

#include "core/checkpoint/pickle_machine.h"

namespace nd {

/// What the names of the closed table mean to the machine.
enum class PickleGlobal {
  ordered_dict,    // collections.OrderedDict
  tensor,          // torch._utils._rebuild_tensor(storage, offset, sizes, strides)
  tensor_v2,       // torch._utils._rebuild_tensor_v2(…, requires_grad, hooks[, metadata])
  tensor_v3,       // torch._utils._rebuild_tensor_v3(…, requires_grad, hooks, dtype[, metadata])
  parameter,       // torch._utils._rebuild_parameter(tensor, requires_grad, hooks)
  size,            // torch.Size(sizes)
  storage,         // torch.FloatStorage, …, torch.storage.UntypedStorage: only in persistent ids
  dtype,           // torch.float32, …
  script_class,    // TorchScript: a class of the archive's
  script_list,     // TorchScript: torch.jit._pickle.build_intlist(list), …
  script_tagged,   // TorchScript: torch.jit._pickle.restore_type_tag(value, type)
  script_device,   // TorchScript: torch.device(type[, index])
};

/// The meaning of a name, or nothing for one that is not in the table.
std::optional<PickleGlobal> find_global(std::string_view module, std::string_view name, PickleSource source);

/// The dtype that `FloatStorage`, … holds or that `float32`, … names; nothing for UntypedStorage.
std::optional<at::ScalarType> dtype_of(std::string_view name);

}  // namespace nd
