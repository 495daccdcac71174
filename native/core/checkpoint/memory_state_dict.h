#pragma once

#include "core/checkpoint/safetensors_writer.h"
#include "core/checkpoint/state_dict.h"

namespace nd {

/// Tensors that are in memory already, as a checkpoint.
std::shared_ptr<const StateDict> memory_state_dict(NamedTensors tensors);

}  // namespace nd
