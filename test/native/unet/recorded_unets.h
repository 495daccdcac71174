#pragma once

#include <ATen/ATen.h>
#include <ATen/CPUGeneratorImpl.h>

#include <cmath>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>
#include <optional>
#include <stdexcept>
#include <string>

#include "core/checkpoint/memory_state_dict.h"
#include "core/unet/unet2d_model.h"

namespace nd::test {

using Json = nlohmann::json;

/// What scripts/parity/record_unet.py wrote: diffusers' outputs for UNets whose weights and inputs are drawn again.
class RecordedUNets {
 public:
  static const RecordedUNets& get() {
    static const RecordedUNets recorded;
    return recorded;
  }

  const Json& cases() const { return manifest_.at("cases"); }

  const Json& named(const std::string& name) const {
    for (const auto& entry : cases()) {
      if (entry.at("name") == name) return entry;
    }
    throw std::runtime_error("no case is named " + name);
  }

  /// A tensor of the binary file: [dtype, shape, offset].
  at::Tensor tensor(const Json& reference) const {
    if (reference.at(0) != "float32") throw std::runtime_error("only float32 is read here");
    const auto shape = reference.at(1).get<std::vector<int64_t>>();
    auto* data = const_cast<char*>(data_.data()) + reference.at(2).get<size_t>();
    return at::from_blob(data, shape, at::kFloat).clone();
  }

 private:
  RecordedUNets() {
    const auto base = std::string(FIXTURES) + "/parity/unet";
    std::ifstream manifest(base + ".json"), binary(base + ".bin", std::ios::binary);
    manifest_ = Json::parse(manifest);
    data_.assign(std::istreambuf_iterator<char>(binary), {});
  }

  Json manifest_;
  std::string data_;
};

inline at::Generator seeded(uint64_t seed) { return at::detail::createCPUGenerator(seed); }

/// The rule of the manifest's "weights".
inline at::Tensor scaled_weight(const std::string& name, const at::Tensor& drawn) {
  if (name.ends_with(".bias")) return drawn * 0.1;
  if (name == "time_proj.weight") return drawn.dim() == 1 ? drawn * 16 : drawn;
  if (name == "class_embedding.weight") return drawn;
  if (drawn.dim() == 1) return drawn * 0.1 + 1;
  return drawn * (1 / std::sqrt(static_cast<double>(drawn.numel() / drawn.size(0))));
}

inline NamedTensors draw_weights(const Json& entry) {
  const auto generator = seeded(entry.at("seed"));
  NamedTensors weights;
  for (const auto& named : entry.at("state")) {
    const auto name = named.at(0).get<std::string>();
    const auto shape = named.at(1).get<std::vector<int64_t>>();
    weights.emplace_back(name, scaled_weight(name, at::randn(shape, generator)));
  }
  return weights;
}

struct Inputs {
  at::Tensor sample, timesteps, class_labels;
};

inline Inputs draw_inputs(const Json& entry, const Json& forward) {
  const auto& timestep = forward.at("timestep");
  const int64_t batch = timestep.is_array() ? static_cast<int64_t>(timestep.size()) : forward.value("batch", 2);
  const auto size = forward.at("size").get<std::vector<int64_t>>();
  const auto generator = seeded(forward.at("seed"));
  Inputs inputs;
  inputs.sample = at::randn({batch, entry.at("config").at("in_channels").get<int64_t>(), size[0], size[1]}, generator);
  const auto& first = timestep.is_array() ? timestep.front() : timestep;
  const auto values = timestep.is_array() ? timestep.get<std::vector<double>>()
                                          : std::vector<double>(static_cast<size_t>(batch), timestep.get<double>());
  inputs.timesteps = at::tensor(values, at::kDouble).to(first.is_number_float() ? at::kFloat : at::kLong);
  if (forward.contains("labels")) {
    inputs.class_labels = at::tensor(forward.at("labels").get<std::vector<int64_t>>(), at::kLong);
  } else if (forward.contains("label_width")) {
    inputs.class_labels = at::randn({batch, forward.at("label_width").get<int64_t>()}, generator);
  }
  return inputs;
}

inline std::shared_ptr<const UNet2DModel> load(const Json& entry, ModelTarget target = {},
                                               std::optional<NamedTensors> weights = {}) {
  return UNet2DModel::load(parse_unet2d_config(entry.at("config").dump()),
                           memory_state_dict(weights ? std::move(*weights) : draw_weights(entry)), target);
}

inline at::Tensor run(const UNet2DModel& model, const Inputs& inputs) {
  return model.forward(inputs.sample, inputs.timesteps, inputs.class_labels);
}

/// ‖y − reference‖ / ‖reference‖; NaN where y holds one.
inline double relative_error(const at::Tensor& y, const at::Tensor& reference) {
  const auto exact = reference.to(at::kDouble);
  return ((y.to(at::kDouble) - exact).norm() / exact.norm()).item<double>();
}

}  // namespace nd::test
