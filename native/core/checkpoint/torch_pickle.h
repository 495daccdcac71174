#pragma once

#include <memory>

#include "core/checkpoint/state_dict.h"
#include "core/checkpoint/torch_zip.h"

namespace nd {

/// Reads what torch.save wrote of a dict of tensors, or of a dict with such a one under 'state_dict'. Nothing in the
/// file is executed: see read_pickle. Throws ERR_CHECKPOINT, ERR_DTYPE.
std::shared_ptr<const StateDict> read_torch_pickle(const TorchZip& archive);

}  // namespace nd
