#pragma once

#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "core/unet/unet2d_model.h"

namespace nd::bench {

/// A UNet whose topology is a published one, with random weights.
struct BenchModel {
  std::string name;
  UNet2DConfig config;
  double millions;                // of parameters, as published
  std::vector<int64_t> batches;   // the most telling first
};

/// google/ddpm-cifar10-32 and google/ddpm-church-256.
inline std::vector<BenchModel> bench_models() {
  using Json = nlohmann::json;
  const Json common{{"in_channels", 3}, {"out_channels", 3}, {"layers_per_block", 2}, {"downsample_padding", 0},
                    {"flip_sin_to_cos", false}, {"freq_shift", 1}, {"norm_eps", 1e-6}, {"attention_head_dim", nullptr}};
  auto cifar10 = common, church = common;
  cifar10.update({{"sample_size", 32},
                  {"block_out_channels", {128, 256, 256, 256}},
                  {"down_block_types", {"DownBlock2D", "AttnDownBlock2D", "DownBlock2D", "DownBlock2D"}},
                  {"up_block_types", {"UpBlock2D", "UpBlock2D", "AttnUpBlock2D", "UpBlock2D"}}});
  church.update({{"sample_size", 256},
                 {"block_out_channels", {128, 128, 256, 256, 512, 512}},
                 {"down_block_types",
                  {"DownBlock2D", "DownBlock2D", "DownBlock2D", "DownBlock2D", "AttnDownBlock2D", "DownBlock2D"}},
                 {"up_block_types", {"UpBlock2D", "AttnUpBlock2D", "UpBlock2D", "UpBlock2D", "UpBlock2D", "UpBlock2D"}}});
  return {{"cifar10", parse_unet2d_config(cifar10.dump()), 35.746, {64, 1, 256, 8, 512, 1024}},
          {"church", parse_unet2d_config(church.dump()), 113.673, {1, 4}}};
}

/// The height at which a layer writes its image, by its name: blocks halve it on the way down, samplers write at the next.
inline int64_t height_of(const std::string& name, int64_t size, int64_t blocks) {
  if (name.starts_with("mid_block")) return size >> (blocks - 1);
  const bool down = name.starts_with("down_blocks."), up = name.starts_with("up_blocks.");
  if (!down && !up) return size;
  const auto block = std::stoll(name.substr(name.find('.') + 1));
  const auto sampled = name.find("samplers.") == std::string::npos ? 0 : 1;
  return down ? size >> (block + sampled) : size >> (blocks - 1 - block - sampled);
}

/// Floating-point operations of one sample's forward: two for each product of a convolution, of a linear layer over the
/// pixels and of attention's two products. Norms, activations and the time embedding are less than 1 %.
inline double operations(const UNet2DModel& model) {
  const auto& config = model.config();
  const auto size = config.sample_size->first, blocks = static_cast<int64_t>(config.block_out_channels.size());
  double sum = 0;
  for (const auto& [name, weight] : model.state_dict()) {
    const bool attends = name.find("attentions.") != std::string::npos;
    if (weight.dim() != 4 && !(weight.dim() == 2 && attends)) continue;
    const auto height = height_of(name, size, blocks);
    const double pixels = static_cast<double>(height) * static_cast<double>(height);
    sum += 2 * pixels * static_cast<double>(weight.numel());
    if (name.ends_with("to_q.weight")) sum += 4 * pixels * pixels * static_cast<double>(weight.size(0));
  }
  return sum;
}

}  // namespace nd::bench
