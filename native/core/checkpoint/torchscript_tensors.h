#pragma once

#include <memory>

#include "core/checkpoint/state_dict.h"
#include "core/checkpoint/torch_zip.h"

namespace nd {

/// Reads the tensors among the attributes of a TorchScript archive's modules, by their dotted names less what all names
/// begin with (`unet.`, where a wrapper was scripted). The archive's program is neither compiled nor run: see
/// read_pickle. Throws ERR_CHECKPOINT, by name for a frozen archive, whose weights are constants of its program;
/// ERR_DTYPE.
std::shared_ptr<const StateDict> read_torchscript_tensors(const TorchZip& archive);

}  // namespace nd
