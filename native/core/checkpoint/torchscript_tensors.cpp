#include "core/checkpoint/torchscript_tensors.h"

#include <algorithm>
#include <tuple>

#include "core/errors.h"

namespace nd {
namespace {

using Kind = PickleValue::Kind;

constexpr int kMaxDepth = 64;
constexpr size_t kMaxAttributes = 1 << 21;  // of all modules together

/// Walks from module to module. A pickle's records may share and contain each other, so depth and number are bounded.
class Walk {
 public:
  explicit Walk(const TorchZip& archive) : archive_(archive) {}

  void module(const PickleValue& record, const std::string& prefix, int depth) {
    // A module with a __getstate__ of its own may have anything else for a state, which is none of a UNet's.
    if (record.items.empty() || record.items[0]->kind != Kind::dict) return;
    const auto& state = record.items[0]->items;
    attributes_ += 1 + state.size() / 2;
    if (depth > kMaxDepth || attributes_ > kMaxAttributes || prefix.size() > kMaxTensorName) {
      fail(ErrorCode::checkpoint, archive_.what(), " has modules in one another without end");
    }
    for (size_t i = 0; i + 1 < state.size(); i += 2) {
      const auto& [key, value] = std::tie(*state[i], *state[i + 1]);
      if (value.kind != Kind::tensor && value.kind != Kind::record) continue;
      if (key.kind != Kind::text) fail(ErrorCode::checkpoint, archive_.what(), " has an attribute without a name");
      if (value.kind == Kind::record) {
        module(value, prefix + std::string(key.text) + ".", depth + 1);
      } else {
        places_.push_back(archive_.place(prefix + std::string(key.text), value));
        if (places_.size() > kMaxTensors) fail(ErrorCode::checkpoint, archive_.what(), " has too many tensors");
      }
    }
  }

  std::vector<TensorPlace> take() { return std::move(places_); }

 private:
  const TorchZip& archive_;
  std::vector<TensorPlace> places_;
  size_t attributes_ = 0;
};

/// Drops the attributes that wrappers held the model by. A UNet's own names differ in their first part.
void strip_common_prefix(std::vector<TensorPlace>& places) {
  const auto& first = places.front().info.name;
  auto common = first.size();
  for (const auto& place : places) {
    const auto& name = place.info.name;
    common = std::min(common, name.size());
    common = static_cast<size_t>(std::mismatch(name.begin(), name.begin() + static_cast<std::ptrdiff_t>(common),
                                               first.begin()).first - name.begin());
  }
  const auto dot = std::string_view(first).substr(0, common).rfind('.');
  if (dot == std::string_view::npos) return;
  for (auto& place : places) place.info.name.erase(0, dot + 1);
}

}  // namespace

std::shared_ptr<const StateDict> read_torchscript_tensors(const TorchZip& archive) {
  const auto pickle = read_pickle(archive.read("data.pkl"), PickleSource::torchscript, archive.what());
  if (pickle.top->kind != Kind::record) fail(ErrorCode::checkpoint, archive.what(), " must hold a module");
  Walk walk(archive);
  walk.module(*pickle.top, "", 0);
  auto places = walk.take();
  if (places.empty()) {
    fail(ErrorCode::checkpoint, archive.what(),
         archive.has("constants/") ? " is a frozen TorchScript archive: its weights are constants of its program, not "
                                     "parameters by name; export it without torch.jit.freeze"
                                   : " has no parameters");
  }
  strip_common_prefix(places);
  return std::make_shared<StoredTensors>(archive.what(), archive.bytes(), std::move(places));
}

}  // namespace nd
