#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace nd {

/// One record of a zip file, as its central directory states it.
struct ZipRecord {
  std::string name;
  uint64_t size = 0;         // as read
  uint64_t stored_size = 0;  // as it lies in the file
  uint64_t header = 0;       // offset of its local header
  uint64_t data = 0;         // offset of its bytes
  uint32_t crc = 0;
  bool deflated = false;
};

/// The table of contents of a zip or zip64 file, every number of it checked against the file and against bounds, before
/// a reader that trusts them gets to see it; `path` is the file's name for messages. Throws ERR_CHECKPOINT for one that
/// is truncated, is no zip, or claims what can't be (overlaps, bombs, two records of one name).
std::vector<ZipRecord> read_zip_directory(std::string_view bytes, const std::string& path);

/// The bytes of a record of a file's directory, compared with its checksum. Throws ERR_CHECKPOINT for a damaged record,
/// and for one that is not stored as it is.
std::string_view read_stored_record(std::string_view bytes, const std::string& path, const ZipRecord& record);

/// Reads every record that is stored as it is, and compares its checksum: libtorch's own reader does not. Throws
/// ERR_CHECKPOINT naming the first damaged one.
void check_stored_records(std::string_view bytes, const std::string& path, const std::vector<ZipRecord>& records);

}  // namespace nd
