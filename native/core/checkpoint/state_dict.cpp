#include "core/checkpoint/state_dict.h"

#include <algorithm>
#include <filesystem>

#include "core/checkpoint/mapped_file.h"
#include "core/checkpoint/safetensors_reader.h"
#include "core/checkpoint/sharded_checkpoint.h"
#include "core/checkpoint/torch_pickle.h"
#include "core/checkpoint/torch_zip.h"
#include "core/checkpoint/torchscript_tensors.h"
#include "core/errors.h"

namespace nd {
namespace {

using namespace std::string_view_literals;

/// A file of tensors itself, or null.
std::shared_ptr<const StateDict> open_tensors(const SharedBytes& bytes, const std::string& path) {
  if (looks_like_safetensors(bytes.view)) return read_safetensors(bytes, path);
  if (!bytes.view.starts_with("PK")) return nullptr;
  const TorchZip archive(bytes, path);
  return archive.has("constants.pkl") ? read_torchscript_tensors(archive) : read_torch_pickle(archive);
}

[[noreturn]] void refuse(std::string_view bytes, const std::string& path) {
  // torch.save of before 1.6: a pickle of a magic number comes first, as LONG1 of ten bytes.
  if (bytes.size() > 4 && bytes[0] == '\x80' && bytes.substr(2, 2) == "\x8a\x0a"sv) {
    fail(ErrorCode::checkpoint, path, " is in the format of torch before 1.6; load it there and save it again");
  }
  if (bytes.starts_with("version https://git-lfs")) {
    fail(ErrorCode::checkpoint, path, " is a pointer of Git LFS, not the file itself; 'git lfs pull' fetches it");
  }
  fail(ErrorCode::checkpoint, path,
       " is no checkpoint: neither safetensors, nor what torch.save or TorchScript writes, nor a sharded one's index");
}

}  // namespace

const TensorInfo* StateDict::find(const std::string& name) const {
  const auto& all = entries();
  const auto before = [](const TensorInfo& entry, const std::string& wanted) { return entry.name < wanted; };
  const auto place = std::lower_bound(all.begin(), all.end(), name, before);
  return place != all.end() && place->name == name ? &*place : nullptr;
}

std::shared_ptr<const StateDict> open_checkpoint(const std::string& path) {
  const auto bytes = map_file(path);
  if (auto tensors = open_tensors(bytes, path)) return tensors;
  if (!bytes.view.starts_with('{')) refuse(bytes.view, path);
  const auto folder = std::filesystem::path(path).parent_path();
  return read_sharded_checkpoint(bytes.view, path, [&](const std::string& name) {
    // Not open_checkpoint: an index in an index could go round in circles.
    const auto shard = (folder / name).string();
    const auto shard_bytes = map_file(shard);
    auto tensors = open_tensors(shard_bytes, shard);
    if (tensors == nullptr) refuse(shard_bytes.view, shard);
    return tensors;
  });
}

}  // namespace nd
