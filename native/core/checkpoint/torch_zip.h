#pragma once

#include <atomic>
#include <map>
#include <memory>
#include <string>
#include <string_view>

#include "core/checkpoint/mapped_file.h"
#include "core/checkpoint/pickle_machine.h"
#include "core/checkpoint/stored_tensors.h"
#include "core/checkpoint/zip_directory.h"

namespace nd {

/// What one pickle may name, over and over by recalling it: far more than a UNet has.
constexpr size_t kMaxTensors = 1 << 17;

/// A record that thousands of tensors may share: one copy of its name, and its checksum compared once for all of them.
struct StoredRecord {
  ZipRecord record;
  std::atomic<bool> intact{false};
};

/// The zip archive that torch.save and TorchScript write: one top folder with a pickle, data.pkl, and each storage's
/// bytes in a record of its own, data/0, data/1, …, stored as they are.
class TorchZip {
 public:
  /// Throws ERR_CHECKPOINT for what is no such archive, or one of big-endian numbers. `what` is the file's name.
  TorchZip(SharedBytes bytes, std::string what);

  const SharedBytes& bytes() const { return bytes_; }
  const std::string& what() const { return what_; }

  /// Whether it has a record of this name, or a folder of this name with a slash at the end.
  bool has(const std::string& name) const;

  /// A record's bytes, compared with their checksum. Throws ERR_CHECKPOINT.
  std::string_view read(const std::string& name) const;

  /// Where a tensor that the pickle describes lies. Its record's bytes are compared with their checksum when a tensor of it
  /// is first read. Throws ERR_CHECKPOINT, or ERR_DTYPE for a dtype that this package has none for.
  TensorPlace place(std::string name, const PickleValue& tensor) const;

 private:
  const std::shared_ptr<StoredRecord>& record(const std::string& name) const;

  SharedBytes bytes_;
  std::string what_;
  std::string root_;
  std::map<std::string, std::shared_ptr<StoredRecord>> records_;
};

}  // namespace nd
