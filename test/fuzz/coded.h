#pragma once

#include <ATen/core/Tensor.h>
#include <c10/core/InferenceMode.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <initializer_list>

#include "core/checkpoint/state_dict.h"
#include "core/errors.h"

namespace nd::fuzz {

/// Runs a reader over hostile bytes: it may throw Error of one of these codes; anything else ends the process.
template <typename Read>
void coded(std::initializer_list<ErrorCode> codes, Read&& read) {
  c10::InferenceMode inference;
  try {
    read();
  } catch (const Error& e) {
    if (std::find(codes.begin(), codes.end(), e.code()) != codes.end()) return;
    std::fprintf(stderr, "%s: %s\n", code_name(e.code()), e.what());
    std::abort();
  }
}

/// Every tensor must be readable, and what its entry says.
inline void read_all(const StateDict& state) {
  for (const auto& [name, shape, dtype] : state.entries()) {
    const auto tensor = state.read(name);
    const bool fits = tensor.sizes() == at::IntArrayRef(shape) && tensor.scalar_type() == dtype;
    if (!fits || !tensor.is_contiguous()) std::abort();
    const auto* bytes = static_cast<const char*>(tensor.const_data_ptr());
    if (tensor.nbytes() > 0) static_cast<void>(*static_cast<const volatile char*>(bytes + tensor.nbytes() - 1));
  }
}

}  // namespace nd::fuzz
