#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

namespace nd {

/// Bytes that stay where they are as long as their owner lives: a mapped file, or a test's string.
struct SharedBytes {
  std::shared_ptr<const void> owner;
  std::string_view view;
};

/// Maps a file for reading. Throws ERR_NOT_FOUND for a missing file, ERR_CHECKPOINT for one that is no file or can't be
/// read.
///
/// Hazard: the size is checked here, once. A process that truncates the file in place later ends this one with SIGBUS
/// when a page that is gone is read (safetensors' own reader and torch.load(mmap=True) share this). Who replaces a file
/// by renaming a new one over it, as write_atomically does, leaves the mapping intact.
SharedBytes map_file(const std::string& path);

}  // namespace nd
