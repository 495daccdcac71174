#include "core/checkpoint/sharded_checkpoint.h"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <map>
#include <vector>

#include "core/errors.h"
#include "core/json.h"

namespace nd {
namespace {

using nlohmann::json;

constexpr size_t kMaxShards = 10000, kMaxName = 255;

/// An index must not lead out of its folder.
bool is_plain_name(const std::string& name) {
  return !name.empty() && name.size() <= kMaxName && name != "." && name != ".." &&
         std::none_of(name.begin(), name.end(), [](unsigned char c) { return c == '/' || c == '\\' || c < 0x20; });
}

class Shards final : public StateDict {
 public:
  using Open = std::function<std::shared_ptr<const StateDict>(const std::string&)>;

  Shards(const json& weight_map, std::string what, const Open& open) : what_(std::move(what)) {
    std::map<std::string, std::shared_ptr<const StateDict>> shards;
    for (const auto& [tensor, file] : weight_map.items()) {
      if (!file.is_string() || !is_plain_name(file.get_ref<const std::string&>())) {
        fail(ErrorCode::checkpoint, what_, ": tensor '", tensor, "' must be in a file beside the index, got ",
             show_json(file));
      }
      auto& shard = shards[file.get_ref<const std::string&>()];
      if (shards.size() > kMaxShards) fail(ErrorCode::checkpoint, what_, " names more than ", kMaxShards, " files");
      if (shard == nullptr) shard = open(file.get_ref<const std::string&>());
      const auto* entry = shard->find(tensor);
      if (entry == nullptr) {
        fail(ErrorCode::checkpoint, what_, ": tensor '", tensor, "' is not in ", file.get_ref<const std::string&>());
      }
      entries_.push_back(*entry);
      places_.emplace(tensor, shard);
    }
    std::sort(entries_.begin(), entries_.end(), [](const auto& a, const auto& b) { return a.name < b.name; });
  }

  const std::vector<TensorInfo>& entries() const override { return entries_; }

  at::Tensor read(const std::string& name) const override {
    const auto found = places_.find(name);
    if (found == places_.end()) fail(ErrorCode::checkpoint, what_, " has no tensor '", name, "'");
    return found->second->read(name);
  }

 private:
  std::string what_;
  std::vector<TensorInfo> entries_;
  std::map<std::string, std::shared_ptr<const StateDict>> places_;
};

}  // namespace

std::shared_ptr<const StateDict> read_sharded_checkpoint(std::string_view index, const std::string& what,
                                                         const Shards::Open& open) {
  const auto parsed = parse_json(index, {}, what, ErrorCode::checkpoint);
  if (!parsed.is_object() || !parsed.contains("weight_map") || !parsed["weight_map"].is_object()) {
    fail(ErrorCode::checkpoint, what, " must have a weight_map from tensors to files");
  }
  return std::make_shared<Shards>(parsed["weight_map"], what, open);
}

}  // namespace nd
