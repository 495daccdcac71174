#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "core/checkpoint/mapped_file.h"

namespace nd::test {

/// A file's bytes without the file.
inline SharedBytes shared(std::string bytes) {
  auto owner = std::make_shared<const std::string>(std::move(bytes));
  return {owner, *owner};
}

/// A safetensors file of this header.
inline std::string safetensors(const std::string& header, const std::string& data = "") {
  std::string length(8, '\0');
  for (int i = 0; i < 8; ++i) length[static_cast<size_t>(i)] = static_cast<char>(header.size() >> (8 * i));
  return length + header + data;
}

inline std::string checkpoint_fixture(const std::string& name) { return std::string(FIXTURES) + "/checkpoints/" + name; }

}  // namespace nd::test
