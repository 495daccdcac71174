#include <memory>
#include <string>

#include "coded.h"
#include "core/checkpoint/safetensors_reader.h"
#include "core/checkpoint/sharded_checkpoint.h"

namespace {

using nd::ErrorCode;

nd::SharedBytes shared(std::string bytes) {
  auto owner = std::make_shared<const std::string>(std::move(bytes));
  return {owner, *owner};
}

/// A file beside a sharded checkpoint's index.
std::shared_ptr<const nd::StateDict> open_shard(const std::string& name) {
  if (name.find('/') != std::string::npos) std::abort();
  std::string file = R"(        {"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}7)";
  file[0] = static_cast<char>(file.size() - 9);
  std::fill(file.begin() + 1, file.begin() + 8, '\0');
  return nd::read_safetensors(shared(std::move(file)), name);
}

}  // namespace

/// A safetensors file, or the index of a sharded one.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  std::string bytes(reinterpret_cast<const char*>(data), size);
  nd::fuzz::coded({ErrorCode::checkpoint, ErrorCode::dtype}, [&] {
    const auto state = bytes.starts_with('{') ? nd::read_sharded_checkpoint(bytes, "index", open_shard)
                                              : nd::read_safetensors(shared(bytes), "file");
    nd::fuzz::read_all(*state);
    nd::fuzz::read_all(*nd::with_current_names(state));
  });
  return 0;
}
