#include "core/checkpoint/memory_state_dict.h"

#include <map>

#include "core/errors.h"

namespace nd {
namespace {

class MemoryStateDict final : public StateDict {
 public:
  explicit MemoryStateDict(NamedTensors tensors) {
    for (auto& [name, tensor] : tensors) tensors_.emplace(name, std::move(tensor));
    for (const auto& [name, tensor] : tensors_) {
      entries_.push_back({name, tensor.sizes().vec(), tensor.scalar_type()});
    }
  }

  const std::vector<TensorInfo>& entries() const override { return entries_; }

  at::Tensor read(const std::string& name) const override {
    const auto found = tensors_.find(name);
    if (found == tensors_.end()) fail(ErrorCode::checkpoint, "there is no tensor '", name, "'");
    return found->second;
  }

 private:
  std::map<std::string, at::Tensor> tensors_;
  std::vector<TensorInfo> entries_;
};

}  // namespace

std::shared_ptr<const StateDict> memory_state_dict(NamedTensors tensors) {
  return std::make_shared<MemoryStateDict>(std::move(tensors));
}

}  // namespace nd
