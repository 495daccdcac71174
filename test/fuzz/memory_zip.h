#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace nd::fuzz {

/// A zip file of stored records with right checksums, so that a fuzzer's pickle gets past them.
inline std::string make_zip(const std::vector<std::pair<std::string, std::string>>& records) {
  const auto put = [](std::string& to, uint64_t value, int bytes) {
    for (int i = 0; i < bytes; ++i) to += static_cast<char>(value >> (8 * i));
  };
  const auto crc32 = [](const std::string& data) {
    uint32_t crc = 0xffffffff;
    for (const unsigned char byte : data) {
      crc ^= byte;
      for (int bit = 0; bit < 8; ++bit) crc = (crc >> 1) ^ ((crc & 1) != 0 ? 0xedb88320 : 0);
    }
    return crc ^ 0xffffffff;
  };
  std::string file, directory;
  for (const auto& [name, data] : records) {
    std::string fields;  // what both headers have: flags, method, time, date, checksum, sizes, lengths
    put(fields, 0, 8);
    put(fields, crc32(data), 4);
    put(fields, data.size(), 4);
    put(fields, data.size(), 4);
    put(fields, name.size(), 2);
    put(fields, 0, 2);
    directory += std::string("PK\1\2", 4) + std::string(4, '\0') + fields + std::string(10, '\0');
    put(directory, file.size(), 4);
    directory += name;
    file += std::string("PK\3\4", 4) + std::string(2, '\0') + fields + name + data;
  }
  std::string end("PK\5\6\0\0\0\0", 8);
  put(end, records.size(), 2);
  put(end, records.size(), 2);
  put(end, directory.size(), 4);
  put(end, file.size(), 4);
  put(end, 0, 2);
  return file + directory + end;
}

}  // namespace nd::fuzz
