#include "unet_layers.h"

#include "core/errors.h"

#include <algorithm>
#include <optional>

namespace nd::bench {
namespace {

void check_blocks(const UNet2DConfig& config) {
  const auto known = [](const auto& types, auto plain, auto attention) {
    return std::all_of(types.begin(), types.end(), [=](auto type) { return type == plain || type == attention; });
  };
  if (!known(config.down_block_types, DownBlockType::plain, DownBlockType::attention) ||
      !known(config.up_block_types, UpBlockType::plain, UpBlockType::attention) ||
      config.downsample_type != ResampleType::conv || config.upsample_type != ResampleType::conv) {
    fail(ErrorCode::config, "the blocks must be (Attn)DownBlock2D and (Attn)UpBlock2D with convolutions between them");
  }
}

/// How often the image is halved where a layer gets it.
size_t level_of(const std::string& name, size_t levels) {
  const auto index = [&](std::string_view list) -> std::optional<size_t> {
    if (!name.starts_with(list)) return std::nullopt;
    return std::stoul(name.substr(list.size()));
  };
  if (const auto down = index("down_blocks.")) return *down;
  if (const auto up = index("up_blocks.")) {
    return levels - 1 - *up - (name.find(".upsamplers.") == std::string::npos ? 0 : 1);
  }
  return name.starts_with("mid_block.") ? levels - 1 : 0;
}

std::optional<UNetLayer> layer_of(const UNet2DConfig& config, const TensorInfo& weight, const std::string& name,
                                  ImageSize size) {
  const auto& shape = weight.shape;
  if (shape.size() == 4) {
    const bool halves = name.find(".downsamplers.") != std::string::npos;
    const int64_t padding = halves ? config.downsample_padding : shape[2] / 2;
    // With padding 0, the model pads the right and the lower edge alone.
    if (padding < shape[2] / 2) size = {size.height + 1, size.width + 1};
    return UNetLayer{UNetLayer::Kind::convolution, name, {shape[1], shape[0], shape[2], halves ? 2 : 1, padding}, size};
  }
  if (name.ends_with(".to_q")) {
    return UNetLayer{UNetLayer::Kind::attention, name.substr(0, name.rfind('.')), {shape[1], shape[0], 1}, size};
  }
  if (name.ends_with(".time_emb_proj")) {
    return UNetLayer{UNetLayer::Kind::time_projection, name, {shape[1], shape[0], 1}, size};
  }
  if (name.find("norm") != std::string::npos) return UNetLayer{UNetLayer::Kind::norm, name, {shape[0], shape[0], 1}, size};
  return std::nullopt;
}

}  // namespace

std::vector<UNetLayer> unet_layers(const UNet2DConfig& config, const StateDict& checkpoint) {
  check_blocks(config);
  const auto levels = config.block_out_channels.size();
  const auto [height, width] = config.sample_size.value_or(std::pair<int64_t, int64_t>{32, 32});
  std::vector<ImageSize> sizes{{height, width}};
  while (sizes.size() < levels) sizes.push_back(sizes.back().halved());
  std::vector<UNetLayer> layers;
  for (const auto& entry : checkpoint.entries()) {
    constexpr std::string_view suffix = ".weight";
    if (!entry.name.ends_with(suffix)) continue;
    const auto name = entry.name.substr(0, entry.name.size() - suffix.size());
    if (auto layer = layer_of(config, entry, name, sizes[level_of(name, levels)])) layers.push_back(std::move(*layer));
  }
  return layers;
}

}  // namespace nd::bench
