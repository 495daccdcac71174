#include "core/unet/down_block.h"

namespace nd {
namespace {

bool is_skip(DownBlockType type) { return type == DownBlockType::skip || type == DownBlockType::attention_skip; }

bool has_attention(DownBlockType type) {
  return type == DownBlockType::attention || type == DownBlockType::attention_skip;
}

ResnetBlock::Shape resnet_shape(const DownBlock::Shape& block, int64_t in, const UNet2DConfig& config) {
  if (is_skip(block.type)) {
    return {in, block.out, skip_groups(in), skip_groups(block.out), Resample::none, false, skip_output_scale};
  }
  return {in, block.out, norm_groups(config, in), norm_groups(config, block.out)};
}

}  // namespace

DownBlock::DownBlock(const Scope& scope, const Shape& shape, const UNet2DConfig& config, TimeProjections& projections,
                     ImageSize size) {
  const auto attention = is_skip(shape.type) ? skip_attention_shape : attention_shape;
  for (int64_t i = 0; i < config.layers_per_block; ++i) {
    const auto in = i == 0 ? shape.in : shape.out;
    resnets_.emplace_back(scope / "resnets" / i, resnet_shape(shape, in, config), config, projections, size);
    if (has_attention(shape.type)) attentions_.emplace_back(scope / "attentions" / i, attention(config, shape.out), size);
  }
  if (shape.downsample) take_downsampler(scope, shape, config, projections, size);
}

void DownBlock::take_downsampler(const Scope& scope, const Shape& shape, const UNet2DConfig& config,
                                 TimeProjections& projections, ImageSize size) {
  const auto with_resnet = shape.type == DownBlockType::resnet_downsample ||
                           (shape.type == DownBlockType::attention && config.downsample_type == ResampleType::resnet);
  auto resnet = resnet_shape(shape, shape.out, config);
  if (is_skip(shape.type)) {
    resnet.resample = Resample::fir_down;
    resnet.shortcut = true;
    downsample_resnet_.emplace(scope / "resnet_down", resnet, config, projections, size);
    skip_conv_ = Convolution::take(scope / "skip_conv", {skip_image_channels, shape.out, 1}, size.halved());
  } else if (with_resnet) {
    resnet.resample = Resample::down;
    downsample_resnet_.emplace(scope / "downsamplers" / 0, resnet, config, projections, size);
  } else {
    // With padding 0, DDPM's original network pads the right and the lower edge alone.
    const auto before = config.downsample_padding == 0 ? Before::zeros_right_below : Before::nothing;
    downsample_conv_ = Convolution::take(scope / "downsamplers" / 0 / "conv",
                                         {shape.out, shape.out, 3, 2, config.downsample_padding, before}, size);
  }
}

void DownBlock::operator()(Flow& flow, const Condition& condition) const {
  for (size_t i = 0; i < resnets_.size(); ++i) {
    flow.hidden = resnets_[i](flow.hidden, condition);
    if (!attentions_.empty()) flow.hidden = attentions_[i](flow.hidden);
    flow.residuals.push_back(flow.hidden);
  }
  if (downsample_conv_) {
    flow.hidden = (*downsample_conv_)(flow.hidden);
  } else if (downsample_resnet_) {
    flow.hidden = (*downsample_resnet_)(flow.hidden, condition);
  } else {
    return;
  }
  if (skip_conv_) {
    flow.skip_image = resample(flow.skip_image, Resample::fir_down);
    flow.hidden = (*skip_conv_)(flow.skip_image, {.residual = flow.hidden, .into_residual = true});
  }
  flow.residuals.push_back(flow.hidden);
}

}  // namespace nd
