#include "core/checkpoint/zip_directory.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <set>

#include "core/errors.h"

namespace nd {
namespace {

// PKWARE's APPNOTE.TXT 4.3: signatures and fixed sizes of the parts.
constexpr uint32_t kLocalHeader = 0x04034b50, kCentralHeader = 0x02014b50, kEnd = 0x06054b50;
constexpr uint32_t kEnd64 = 0x06064b50, kEnd64Locator = 0x07064b50;
constexpr size_t kLocalHeaderSize = 30, kCentralHeaderSize = 46, kEndSize = 22, kEnd64Size = 56, kLocatorSize = 20;

constexpr uint64_t kMaxRecords = 1 << 20;
constexpr uint64_t kMaxDirectory = 256 << 20;
/// Only code and debug tables are deflated; all of them together stay far below. Beyond is a bomb.
constexpr uint64_t kMaxInflated = 512 << 20;

static_assert(std::endian::native == std::endian::little, "zip's numbers are read as they lie in the file");

template <typename T>
T number(const char* at) {
  T value;
  std::memcpy(&value, at, sizeof value);
  return value;
}

/// A zip file's bytes, and its name for messages.
class File {
 public:
  File(std::string_view bytes, const std::string& path) : bytes_(bytes), path_(path) {}

  uint64_t size() const { return bytes_.size(); }

  std::string_view read(uint64_t offset, uint64_t bytes) const {
    if (offset > size() || bytes > size() - offset) damaged("a part of it would lie beyond its end");
    return bytes_.substr(static_cast<size_t>(offset), static_cast<size_t>(bytes));
  }

  [[noreturn]] void damaged(const std::string& reason) const {
    fail(ErrorCode::checkpoint, path_, " is no zip archive, or a truncated or damaged one: ", reason);
  }

 private:
  std::string_view bytes_;
  const std::string& path_;
};

struct Directory {
  uint64_t records, bytes, offset;
};

/// From the end of central directory record, which comes last but for a comment of at most 64 KiB; then zip64's.
Directory find_directory(const File& file) {
  if (file.size() < kEndSize) file.damaged("it is too short");
  const auto tail_size = std::min<uint64_t>(file.size(), kEndSize + 0xffff);
  const auto tail_offset = file.size() - tail_size;
  const auto tail = file.read(tail_offset, tail_size);
  size_t at = tail.size() - kEndSize;
  while (number<uint32_t>(&tail[at]) != kEnd || at + kEndSize + number<uint16_t>(&tail[at + 20]) != tail.size()) {
    if (at-- == 0) file.damaged("its table of contents is missing");
  }
  const auto end = tail_offset + at;
  Directory directory{number<uint16_t>(&tail[at + 10]), number<uint32_t>(&tail[at + 12]),
                      number<uint32_t>(&tail[at + 16])};
  if (end >= kLocatorSize) {
    const auto locator = file.read(end - kLocatorSize, kLocatorSize);
    if (number<uint32_t>(&locator[0]) == kEnd64Locator) {
      const auto end64 = file.read(number<uint64_t>(&locator[8]), kEnd64Size);
      if (number<uint32_t>(&end64[0]) != kEnd64) file.damaged("its zip64 record is missing");
      directory = {number<uint64_t>(&end64[32]), number<uint64_t>(&end64[40]), number<uint64_t>(&end64[48])};
    }
  }
  if (directory.records > kMaxRecords || directory.bytes > kMaxDirectory || directory.offset > end ||
      directory.bytes > end - directory.offset || directory.records * kCentralHeaderSize > directory.bytes) {
    file.damaged("its table of contents states impossible sizes");
  }
  return directory;
}

/// zip64's 64-bit values stand in an extra field, in this order, for each 32-bit one that is all ones.
void read_zip64(const File& file, std::string_view extra, std::array<uint64_t*, 3> fields) {
  for (size_t at = 0; at + 4 <= extra.size();) {
    const size_t id = number<uint16_t>(&extra[at]), bytes = number<uint16_t>(&extra[at + 2]);
    at += 4;
    if (bytes > extra.size() - at) file.damaged("an extra field is too long");
    size_t used = 0;
    for (auto* field : fields) {
      if (id != 1 || *field != 0xffffffff || used + 8 > bytes) continue;
      *field = number<uint64_t>(&extra[at + used]);
      used += 8;
    }
    at += bytes;
  }
}

/// The record whose central header starts at `at`, which is moved behind it.
ZipRecord read_record(const File& file, std::string_view headers, size_t& at) {
  if (headers.size() - at < kCentralHeaderSize || number<uint32_t>(&headers[at]) != kCentralHeader) {
    file.damaged("its table of contents ends early");
  }
  const char* header = &headers[at];
  const size_t name = number<uint16_t>(header + 28), extra = number<uint16_t>(header + 30),
               comment = number<uint16_t>(header + 32);
  if (name + extra + comment > headers.size() - at - kCentralHeaderSize)
    file.damaged("its table of contents ends early");
  ZipRecord record;
  record.name = headers.substr(at + kCentralHeaderSize, name);
  record.crc = number<uint32_t>(header + 16);
  record.stored_size = number<uint32_t>(header + 20);
  record.size = number<uint32_t>(header + 24);
  record.header = number<uint32_t>(header + 42);
  read_zip64(file, headers.substr(at + kCentralHeaderSize + name, extra),
             {&record.size, &record.stored_size, &record.header});
  const auto flags = number<uint16_t>(header + 8), method = number<uint16_t>(header + 10);
  if ((flags & 1) != 0) file.damaged("a record is encrypted");
  if (method != 0 && method != 8) file.damaged("a record is packed in an unknown way");
  record.deflated = method == 8;
  if (!record.deflated && record.size != record.stored_size) file.damaged("a record has two sizes");
  at += kCentralHeaderSize + name + extra + comment;
  return record;
}

/// Where a record's bytes start, by its local header, which must agree with the central one.
uint64_t data_offset(const File& file, const ZipRecord& record) {
  const auto header = file.read(record.header, kLocalHeaderSize);
  if (number<uint32_t>(&header[0]) != kLocalHeader)
    file.damaged("the record '" + record.name + "' is not where it should be");
  const uint64_t name = number<uint16_t>(&header[26]), extra = number<uint16_t>(&header[28]);
  if (file.read(record.header + kLocalHeaderSize, name) != record.name) file.damaged("a record has two names");
  return record.header + kLocalHeaderSize + name + extra;
}

/// CRC-32 (polynomial 0xedb88320), eight bytes a turn: table[k][b] is byte b followed by k zero bytes.
constexpr auto kCrcTables = [] {
  std::array<std::array<uint32_t, 256>, 8> tables{};
  for (uint32_t b = 0; b < 256; ++b) {
    uint32_t crc = b;
    for (int bit = 0; bit < 8; ++bit) crc = (crc >> 1) ^ ((crc & 1) != 0 ? 0xedb88320 : 0);
    tables[0][b] = crc;
  }
  for (size_t k = 1; k < 8; ++k) {
    for (size_t b = 0; b < 256; ++b) tables[k][b] = (tables[k - 1][b] >> 8) ^ tables[0][tables[k - 1][b] & 0xff];
  }
  return tables;
}();

uint32_t crc32(std::string_view data) {
  uint32_t crc = 0xffffffff;
  size_t i = 0;
  for (; i + 8 <= data.size(); i += 8) {
    const uint64_t word = number<uint64_t>(&data[i]) ^ crc;
    crc = 0;
    for (size_t k = 0; k < 8; ++k) crc ^= kCrcTables[7 - k][(word >> (8 * k)) & 0xff];
  }
  for (; i < data.size(); ++i) crc = (crc >> 8) ^ kCrcTables[0][(crc ^ static_cast<uint8_t>(data[i])) & 0xff];
  return crc ^ 0xffffffff;
}

}  // namespace

std::vector<ZipRecord> read_zip_directory(std::string_view bytes, const std::string& path) {
  const File file(bytes, path);
  const auto directory = find_directory(file);
  const auto headers = file.read(directory.offset, directory.bytes);
  std::vector<ZipRecord> records;
  std::set<std::string> names;
  uint64_t stored = 0, inflated = 0;
  for (size_t at = 0, i = 0; i < directory.records; ++i) {
    auto record = read_record(file, headers, at);
    if (!names.insert(record.name).second) file.damaged("two records are named '" + record.name + "'");
    record.data = data_offset(file, record);
    if (record.data > directory.offset || record.stored_size > directory.offset - record.data) {
      file.damaged("the record '" + record.name + "' would lie beyond its end");
    }
    stored += record.stored_size;
    if (record.deflated) inflated += record.size > kMaxInflated ? kMaxInflated + 1 : record.size;
    if (stored > file.size()) file.damaged("its records overlap");
    if (inflated > kMaxInflated) file.damaged("its records would unpack to too many bytes");
    records.push_back(std::move(record));
  }
  return records;
}

std::string_view read_stored_record(std::string_view bytes, const std::string& path, const ZipRecord& record) {
  const File file(bytes, path);
  if (record.deflated) file.damaged("'" + record.name + "' is packed, where it must be stored as it is");
  const auto data = file.read(record.data, record.size);
  if (crc32(data) != record.crc) file.damaged("the checksum of '" + record.name + "' is wrong");
  return data;
}

void check_stored_records(std::string_view bytes, const std::string& path, const std::vector<ZipRecord>& records) {
  for (const auto& record : records) {
    if (!record.deflated) read_stored_record(bytes, path, record);
  }
}

}  // namespace nd
