#include "core/checkpoint/zip_directory.h"

#include <algorithm>
#include <cstring>

#include "check.h"
#include "checkpoint/temporary_file.h"

using nd::test::fixture;
using nd::test::read_file;

namespace {

const std::string kEnd = "PK\5\6", kCentral = "PK\1\2";

/// The bytes of a good archive, with `value` written at `offset` behind the last `signature` in it.
template <typename T>
std::string patched(const std::string& signature, size_t offset, T value) {
  auto bytes = read_file(fixture("lookup"));
  std::memcpy(&bytes[bytes.rfind(signature) + offset], &value, sizeof value);
  return bytes;
}

void read_all(const std::string& bytes) {
  nd::check_stored_records(bytes, "x.pt", nd::read_zip_directory(bytes, "x.pt"));
}

TEST("reads a TorchScript archive's records") {
  const auto bytes = read_file(fixture("lookup"));
  const auto records = nd::read_zip_directory(bytes, "lookup.pt");
  const auto data =
      std::find_if(records.begin(), records.end(), [](const auto& r) { return r.name == "archive/data/0"; });
  EXPECT(data != records.end());
  EXPECT_EQUAL(data->size, uint64_t{16});
  EXPECT(!data->deflated);
  nd::check_stored_records(bytes, "lookup.pt", records);
}

TEST("nothing and noise have their own messages") {
  EXPECT_ERROR(checkpoint, "too short", read_all(""));
  EXPECT_ERROR(checkpoint, "table of contents is missing", read_all(std::string(5000, '\x5a')));
}

TEST("every truncation is refused") {
  const auto bytes = read_file(fixture("lookup"));
  for (size_t size = 0; size < bytes.size(); size += 37)
    EXPECT_ERROR(checkpoint, "zip archive", read_all(bytes.substr(0, size)));
}

TEST("a flipped bit in stored data is found by its checksum") {
  auto bytes = read_file(fixture("lookup"));
  // The floats 0, 1/8, 2/8, 3/8 of the one parameter.
  const float weight[] = {0.125f, 0.25f, 0.375f};
  const auto at = bytes.find(std::string(reinterpret_cast<const char*>(weight), sizeof weight));
  EXPECT(at != std::string::npos);
  bytes[at] ^= 1;
  EXPECT_ERROR(checkpoint, "the checksum of 'archive/data/0' is wrong", read_all(bytes));
}

TEST("impossible numbers in the table of contents are refused") {
  // The zip64 record holds the real numbers.
  const std::string end64 = "PK\6\6";
  EXPECT_ERROR(checkpoint, "impossible sizes", read_all(patched(end64, 32, uint64_t{1} << 40)));
  EXPECT_ERROR(checkpoint, "impossible sizes", read_all(patched(end64, 40, ~uint64_t{0})));
  EXPECT_ERROR(checkpoint, "impossible sizes", read_all(patched(end64, 48, ~uint64_t{0} - 10)));
  EXPECT_ERROR(checkpoint, "beyond its end", read_all(patched("PK\6\7", 8, ~uint64_t{0} - 3)));
  EXPECT_ERROR(checkpoint, "two sizes", read_all(patched(kCentral, 20, uint32_t{7})));
  EXPECT_ERROR(checkpoint, "unknown way", read_all(patched(kCentral, 10, uint16_t{99})));
  EXPECT_ERROR(checkpoint, "encrypted", read_all(patched(kCentral, 8, uint16_t{1})));
  EXPECT_ERROR(checkpoint, "not where it should be", read_all(patched(kCentral, 42, uint32_t{3})));
  EXPECT_ERROR(checkpoint, "ends early", read_all(patched(kCentral, 28, uint16_t{60000})));
}

TEST("a deflated record that unpacks to far too much is refused") {
  EXPECT_ERROR(checkpoint, "too many bytes", [] {
    auto bytes = patched(kCentral, 10, uint16_t{8});
    const uint32_t size = 0xfffffff0;
    std::memcpy(&bytes[bytes.rfind(kCentral) + 24], &size, sizeof size);
    read_all(bytes);
  }());
}

}  // namespace
