#include "core/checkpoint/torch_pickle.h"

#include <tuple>

#include "core/errors.h"

namespace nd {
namespace {

using Kind = PickleValue::Kind;

/// What is nested one level down, as training loops save it; or the dict itself.
const PickleValue& find_state_dict(const PickleValue& top) {
  for (size_t i = 0; i + 1 < top.items.size(); i += 2) {
    const auto& [key, value] = std::tie(*top.items[i], *top.items[i + 1]);
    if (key.kind == Kind::text && key.text == "state_dict" && value.kind == Kind::dict) return value;
  }
  return top;
}

}  // namespace

std::shared_ptr<const StateDict> read_torch_pickle(const TorchZip& archive) {
  const auto& what = archive.what();
  const auto pickle = read_pickle(archive.read("data.pkl"), PickleSource::torch_save, what);
  if (pickle.top->kind != Kind::dict) fail(ErrorCode::checkpoint, what, " must hold a dict of tensors");
  const auto& dict = find_state_dict(*pickle.top);
  if (dict.items.size() / 2 > kMaxTensors) {
    fail(ErrorCode::checkpoint, what, " has more than ", kMaxTensors, " entries");
  }
  std::vector<TensorPlace> places;
  for (size_t i = 0; i + 1 < dict.items.size(); i += 2) {
    const auto& [key, value] = std::tie(*dict.items[i], *dict.items[i + 1]);
    if (key.kind != Kind::text) fail(ErrorCode::checkpoint, what, " must hold a dict of tensors by name");
    if (value.kind != Kind::tensor) fail(ErrorCode::checkpoint, what, ": '", key.text, "' must be a tensor");
    places.push_back(archive.place(std::string(key.text), value));
  }
  return std::make_shared<StoredTensors>(what, archive.bytes(), std::move(places));
}

}  // namespace nd
