#include "core/unet/mid_block.h"

namespace nd {
namespace {

ResnetBlock::Shape resnet_shape(const UNet2DConfig& config) {
  const auto channels = config.block_out_channels.back();
  const auto groups = norm_groups(config, channels);
  return {channels, channels, groups, groups, Resample::none, false, config.mid_block_scale_factor};
}

std::optional<Attention> take_attention(const Scope& scope, const UNet2DConfig& config, ImageSize size) {
  if (!config.add_attention) return std::nullopt;
  const auto channels = config.block_out_channels.back();
  auto shape = attention_shape(config, channels);
  shape.output_scale_factor = config.mid_block_scale_factor;
  if (config.attn_norm_num_groups) {
    shape.norm_groups = config.attn_norm_num_groups;
  } else if (config.resnet_time_scale_shift == TimeScaleShift::scale_shift) {
    shape.norm_groups = std::nullopt;
  }
  return Attention(scope, shape, size);
}

}  // namespace

MidBlock::MidBlock(const Scope& scope, const UNet2DConfig& config, TimeProjections& projections, ImageSize size)
    : first_(scope / "resnets" / 0, resnet_shape(config), config, projections, size),
      attention_(take_attention(scope / "attentions" / 0, config, size)),
      second_(scope / "resnets" / 1, resnet_shape(config), config, projections, size) {}

at::Tensor MidBlock::operator()(const at::Tensor& x, const Condition& condition) const {
  const auto h = first_(x, condition);
  return second_(attention_ ? (*attention_)(h) : h, condition);
}

}  // namespace nd
