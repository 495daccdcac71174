#include <memory>
#include <string>

#include "coded.h"
#include "core/checkpoint/torch_pickle.h"
#include "core/checkpoint/torchscript_tensors.h"
#include "memory_zip.h"

namespace {

void read_archive(std::string bytes) {
  nd::fuzz::coded({nd::ErrorCode::checkpoint, nd::ErrorCode::dtype}, [&] {
    const auto owner = std::make_shared<const std::string>(std::move(bytes));
    const nd::TorchZip archive({owner, *owner}, "file");
    nd::fuzz::read_all(archive.has("constants.pkl") ? *nd::read_torchscript_tensors(archive)
                                                    : *nd::read_torch_pickle(archive));
  });
}

}  // namespace

/// A zip archive of torch's as it is; or a pickle, which is put into two of them.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string bytes(reinterpret_cast<const char*>(data), size);
  if (bytes.starts_with("PK")) {
    read_archive(bytes);
    return 0;
  }
  std::vector<std::pair<std::string, std::string>> records{
      {"a/data.pkl", bytes}, {"a/data/0", std::string(96, '\1')}, {"a/data/1", std::string(32, '\2')}};
  read_archive(nd::fuzz::make_zip(records));
  records.emplace_back("a/constants.pkl", "");
  read_archive(nd::fuzz::make_zip(records));
  return 0;
}
