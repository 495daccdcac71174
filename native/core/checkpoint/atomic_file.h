#pragma once

#include <filesystem>
#include <random>
#include <string>

#include "core/errors.h"

namespace nd {

/// Writes a file whole or not at all: `write` makes a new one beside it, which then takes its name. Throws
/// ERR_ARGUMENT, or what `write` throws; nothing is left then.
template <typename Write>
void write_atomically(const std::string& path, Write&& write) {
  const auto temporary = path + "." + std::to_string(std::random_device{}()) + ".tmp";
  std::error_code error;
  try {
    write(temporary);
    std::filesystem::rename(temporary, path, error);
    if (error) fail(ErrorCode::argument, path, " can't be written: ", error.message());
  } catch (...) {
    std::filesystem::remove(temporary, error);
    throw;
  }
}

}  // namespace nd
