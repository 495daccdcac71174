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

/// A number's bytes, the lowest first.
std::string le(uint64_t value, int bytes) {
  std::string text;
  for (int i = 0; i < bytes; ++i) text += static_cast<char>(value >> (8 * i));
  return text;
}

/// A record's local header, and what the table of contents says of it.
std::string local(const std::string& name) { return std::string("PK\3\4").append(22, '\0') + le(name.size(), 2) + le(0, 2) + name; }
struct Central {
  std::string name;
  uint64_t at, size, stored = size;
  uint16_t method = 0;
  std::string extra = "", comment = "";
};

/// An archive whose records lie in `body` where their table of contents says.
std::string archive(const std::string& body, const std::vector<Central>& records, const std::string& comment = "") {
  std::string table;
  for (const auto& r : records) {
    table += kCentral + std::string(6, '\0') + le(r.method, 2) + std::string(8, '\0') + le(r.stored, 4) + le(r.size, 4) +
             le(r.name.size(), 2) + le(r.extra.size(), 2) + le(r.comment.size(), 2) + std::string(8, '\0') + le(r.at, 4) +
             r.name + r.extra + r.comment;
  }
  return body + table + kEnd + std::string(4, '\0') + le(records.size(), 2) + le(records.size(), 2) + le(table.size(), 4) +
         le(body.size(), 4) + le(comment.size(), 2) + comment;
}

/// The sizes of the records.
std::vector<uint64_t> sizes_of(const std::string& bytes) {
  std::vector<uint64_t> sizes;
  for (const auto& record : nd::read_zip_directory(bytes, "x.pt")) sizes.push_back(record.size);
  return sizes;
}

/// Zip64's 64-bit sizes.
std::string zip64(std::initializer_list<uint64_t> sizes, uint16_t id = 1) {
  auto extra = le(id, 2) + le(8 * sizes.size(), 2);
  for (const auto size : sizes) extra += le(size, 8);
  return extra;
}
constexpr uint64_t kInExtra = 0xffffffff;

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

TEST("the table of contents agrees with itself and with the records") {
  const auto body = local("a") + std::string(8, 'x');
  EXPECT(sizes_of(archive(body, {{"a", 0, 8}})) == std::vector<uint64_t>{8});
  EXPECT(sizes_of(archive(body, {{"a", 0, 8}}, std::string("PK\5\6").append(20, '\1'))) == std::vector<uint64_t>{8});  // a comment
  EXPECT_ERROR(checkpoint, "two names", sizes_of(archive(body, {{"b", 0, 8}})));
  EXPECT_ERROR(checkpoint, "two records are named 'a'", sizes_of(archive(body, {{"a", 0, 8}, {"a", 0, 8}})));
  EXPECT_ERROR(checkpoint, "beyond its end", sizes_of(archive(body, {{"a", 0, 9}})));
  EXPECT_ERROR(checkpoint, "zip64 record is missing", read_all(patched("PK\6\6", 0, uint32_t{0})));
  auto longer = archive(body, {{"a", 0, 8}});
  ++longer[longer.size() - 10];  // the table's bytes
  EXPECT_ERROR(checkpoint, "impossible sizes", sizes_of(longer));
  const auto packed = archive(body, {{"a", 0, 100, 8, 8}});
  EXPECT_ERROR(checkpoint, "'a' is packed", nd::read_stored_record(packed, "x.pt", nd::read_zip_directory(packed, "x.pt")[0]));
}

TEST("zip64's sizes count where the table's own are all ones") {
  const auto body = local("a") + std::string(8, 'x');
  const auto with = [&](const std::string& extra, uint64_t size = kInExtra, const std::string& comment = "") {
    return sizes_of(archive(body, {{"a", 0, size, size, 0, extra, comment}}));
  };
  EXPECT(with(zip64({8, 8})) == std::vector<uint64_t>{8});
  EXPECT(with(zip64({7, 7}, 2) + zip64({8, 8})) == std::vector<uint64_t>{8});  // another field before it
  EXPECT(with(zip64({7, 7}), 8) == std::vector<uint64_t>{8});
  EXPECT_ERROR(checkpoint, "beyond its end", with(zip64({8, 8}, 2)));
  EXPECT_ERROR(checkpoint, "two sizes", with(zip64({8}), kInExtra, le(8, 8)));
  EXPECT_ERROR(checkpoint, "an extra field is too long", with(le(1, 2) + le(16, 2) + le(8, 8), kInExtra, le(8, 8)));
}

TEST("records in one another are refused") {
  // Each is all that comes behind its header.
  std::string body;
  std::vector<Central> records;
  for (const char* name : {"a", "b", "c"}) {
    records.push_back({name, body.size(), 0});
    body += local(name);
  }
  body += std::string(1000, 'x');
  for (auto& record : records) record.size = record.stored = body.size() - record.at - local("a").size();
  EXPECT_ERROR(checkpoint, "its records overlap", sizes_of(archive(body, records)));
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
