#include "core/checkpoint/state_dict_names.h"

#include <algorithm>
#include <map>
#include <vector>

#include "core/checkpoint/state_dict.h"
#include "core/errors.h"

namespace nd {
namespace {

std::vector<std::string> split(const std::string& name) {
  std::vector<std::string> parts(1);
  for (const char c : name) {
    if (c == '.') {
      parts.emplace_back();
    } else {
      parts.back() += c;
    }
  }
  return parts;
}

bool is_index(const std::string& part) {
  return !part.empty() && std::all_of(part.begin(), part.end(), [](char c) { return c >= '0' && c <= '9'; });
}

class RenamedTensors final : public StateDict {
 public:
  explicit RenamedTensors(std::shared_ptr<const StateDict> checkpoint) : checkpoint_(std::move(checkpoint)) {
    for (const auto& entry : checkpoint_->entries()) {
      const auto name = current_name(entry.name);
      // diffusers once saved the fourier weights under both names.
      if (name != entry.name && name == "time_proj.weight" && checkpoint_->find(name) != nullptr) continue;
      const auto [place, fresh] = old_names_.emplace(name, entry.name);
      if (!fresh) {
        fail(ErrorCode::checkpoint, "tensors '", place->second, "' and '", entry.name, "' are both '", name,
             "' by today's names");
      }
    }
    for (const auto& [name, old] : old_names_) {
      auto entry = *checkpoint_->find(old);
      entry.name = name;
      entries_.push_back(std::move(entry));
    }
  }

  const std::vector<TensorInfo>& entries() const override { return entries_; }

  at::Tensor read(const std::string& name) const override {
    const auto found = old_names_.find(name);
    // The checkpoint says who it is and that it has no such tensor, unless it has one that is called otherwise now.
    if (found == old_names_.end() && checkpoint_->find(name) != nullptr) {
      fail(ErrorCode::checkpoint, "tensor '", name, "' is called '", current_name(name), "' now");
    }
    return checkpoint_->read(found == old_names_.end() ? name : found->second);
  }

 private:
  std::shared_ptr<const StateDict> checkpoint_;
  std::map<std::string, std::string> old_names_;
  std::vector<TensorInfo> entries_;
};

}  // namespace

std::string current_name(const std::string& name) {
  static const std::map<std::string, std::string> kAttention{
      {"query", "to_q"}, {"key", "to_k"}, {"value", "to_v"}, {"proj_attn", "to_out.0"}};
  if (name == "time_proj.W") return "time_proj.weight";
  const auto parts = split(name);
  const auto count = parts.size();
  if (count < 4 || parts[count - 4] != "attentions" || !is_index(parts[count - 3])) return name;
  const auto found = kAttention.find(parts[count - 2]);
  if (found == kAttention.end() || (parts[count - 1] != "weight" && parts[count - 1] != "bias")) return name;
  const auto tail = parts[count - 2].size() + 1 + parts[count - 1].size();
  return name.substr(0, name.size() - tail) + found->second + "." + parts[count - 1];
}

std::shared_ptr<const StateDict> with_current_names(std::shared_ptr<const StateDict> checkpoint) {
  return std::make_shared<RenamedTensors>(std::move(checkpoint));
}

}  // namespace nd
