#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "core/checkpoint/state_dict.h"

namespace nd {

/// Reads the text of an index (`*.safetensors.index.json`, `*.bin.index.json`), whose weight_map says in which file
/// beside it each tensor lies. `open` opens such a file by its name, which is a plain one. Throws ERR_CHECKPOINT for an
/// index that is malformed, leads elsewhere, or names a tensor that its file does not have; what `open` throws.
std::shared_ptr<const StateDict> read_sharded_checkpoint(
    std::string_view index, const std::string& what,
    const std::function<std::shared_ptr<const StateDict>(const std::string& name)>& open);

}  // namespace nd
