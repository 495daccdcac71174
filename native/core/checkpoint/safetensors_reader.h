#pragma once

#include <memory>
#include <string>

#include "core/checkpoint/mapped_file.h"
#include "core/checkpoint/state_dict.h"

namespace nd {

/// Whether these may be a safetensors file's bytes: a length that fits, then an object.
bool looks_like_safetensors(std::string_view bytes);

/// Reads a safetensors file's header with the checks of the reference implementation: a header of at most 100 MB, known
/// dtypes, and data that follow each other without holes from the header to the file's end. `what` is the file's name
/// for messages. Throws ERR_CHECKPOINT, or ERR_DTYPE for a dtype that this package has none for.
std::shared_ptr<const StateDict> read_safetensors(const SharedBytes& bytes, const std::string& what);

}  // namespace nd
