#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <random>
#include <set>
#include <string>
#include <vector>

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);

namespace {

/// Changes one to eight places: a byte, a stretch that is doubled or dropped, a number at its limits.
std::string mutated(std::string bytes, std::mt19937& random) {
  static const uint64_t kLimits[] = {0, 1, 0x7f, 0xff, 0x7fffffff, 0xffffffff, 0x7fffffffffffffff, ~uint64_t{0}};
  for (auto changes = 1 + random() % 8; changes > 0 && !bytes.empty(); --changes) {
    const size_t at = random() % bytes.size(), length = 1 + random() % std::min<size_t>(bytes.size() - at, 16);
    switch (random() % 5) {
      case 0: bytes[at] = static_cast<char>(random()); break;
      case 1: bytes[at] = static_cast<char>(bytes[at] ^ (1 << random() % 8)); break;
      case 2: bytes.insert(random() % bytes.size(), bytes.substr(at, length)); break;
      case 3: bytes.erase(at, length); break;
      default: {
        const auto value = kLimits[random() % std::size(kLimits)];
        for (size_t i = 0; i < std::min<size_t>(length, 8); ++i) bytes[at + i] = static_cast<char>(value >> (8 * i));
      }
    }
  }
  return bytes;
}

}  // namespace

/// replay CORPUS COUNT: every file of a folder, then COUNT mutations of them, always the same. Where libFuzzer is at
/// hand, scripts/fuzz.sh searches; this keeps what it found from coming back.
int main(int argc, char** argv) {
  if (argc != 3) return 2;
  std::vector<std::string> corpus;
  std::set<std::filesystem::path> files;
  for (const auto& file : std::filesystem::directory_iterator(argv[1])) files.insert(file.path());
  for (const auto& path : files) {
    std::ifstream stream(path, std::ios::binary);
    corpus.emplace_back(std::istreambuf_iterator<char>(stream), std::istreambuf_iterator<char>());
  }
  if (corpus.empty()) return 2;
  const auto run = [](const std::string& bytes) {
    LLVMFuzzerTestOneInput(reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size());
  };
  for (const auto& bytes : corpus) run(bytes);
  std::mt19937 random(1);
  const int count = std::atoi(argv[2]);
  for (int i = 0; i < count; ++i) run(mutated(corpus[random() % corpus.size()], random));
  std::printf("%zu files and %d mutations of them\n", corpus.size(), count);
}
