#pragma once

#include <ATen/core/Tensor.h>

#include <string>
#include <utility>
#include <vector>

namespace nd {

using NamedTensors = std::vector<std::pair<std::string, at::Tensor>>;

/// Writes tensors in the safetensors format, as diffusers' save_pretrained does: an 8-byte little-endian length, a JSON
/// header of that length ({name: {dtype, shape, data_offsets}}, padded with spaces to 8 bytes), then the data in row-major
/// order. Whole or not at all. Throws ERR_ARGUMENT if the file can't be written, ERR_DTYPE for a dtype it has no name for.
void write_safetensors(const std::string& path, const NamedTensors& tensors);

}  // namespace nd
