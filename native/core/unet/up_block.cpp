#include "core/unet/up_block.h"

namespace nd {
namespace {

bool is_skip(UpBlockType type) { return type == UpBlockType::skip || type == UpBlockType::attention_skip; }

/// The first norm's groups. AttnSkipUpBlock2D divides only the residual's channels by 4, as diffusers wrote it.
int64_t skip_input_groups(UpBlockType type, int64_t hidden, int64_t residual) {
  return type == UpBlockType::attention_skip ? std::min<int64_t>(hidden + residual / 4, 32)
                                             : skip_groups(hidden + residual);
}

ResnetBlock::Shape layer_shape(const UpBlock::Shape& block, int64_t layer, const UNet2DConfig& config) {
  const auto hidden = layer == 0 ? block.previous : block.out;
  const auto residual = layer == config.layers_per_block ? block.in : block.out;
  const auto in = hidden + residual;
  if (is_skip(block.type)) {
    return {in,   block.out, skip_input_groups(block.type, hidden, residual), skip_groups(block.out), Resample::none,
            false, skip_output_scale};
  }
  return {in, block.out, norm_groups(config, in), norm_groups(config, block.out)};
}

/// The ResNet block that doubles the image.
ResnetBlock::Shape upsampler_shape(const UpBlock::Shape& block, const UNet2DConfig& config) {
  if (is_skip(block.type)) {
    const auto groups = skip_groups(block.out);
    return {block.out, block.out, groups, groups, Resample::fir_up, true, skip_output_scale};
  }
  const auto groups = norm_groups(config, block.out);
  return {block.out, block.out, groups, groups, Resample::up};
}

}  // namespace

UpBlock::UpBlock(const Scope& scope, const Shape& shape, const UNet2DConfig& config, TimeProjections& projections,
                 ImageSize size)
    : skip_(is_skip(shape.type)) {
  for (int64_t i = 0; i <= config.layers_per_block; ++i) {
    resnets_.emplace_back(scope / "resnets" / i, layer_shape(shape, i, config), config, projections, size);
    if (shape.type == UpBlockType::attention) {
      attentions_.emplace_back(scope / "attentions" / i, attention_shape(config, shape.out), size);
    }
  }
  if (shape.type == UpBlockType::attention_skip) {
    attentions_.emplace_back(scope / "attentions" / 0, skip_attention_shape(config, shape.out), size);
  }
  if (shape.upsample) take_upsampler(scope, shape, config, projections, size);
}

void UpBlock::take_upsampler(const Scope& scope, const Shape& shape, const UNet2DConfig& config,
                             TimeProjections& projections, ImageSize size) {
  const auto with_resnet = shape.type == UpBlockType::resnet_upsample ||
                           (shape.type == UpBlockType::attention && config.upsample_type == ResampleType::resnet);
  if (skip_) {
    upsample_resnet_.emplace(scope / "resnet_up", upsampler_shape(shape, config), config, projections, size);
    skip_conv_ = Convolution::take(scope / "skip_conv", {shape.out, skip_image_channels, 3, 1, 1}, size);
    skip_norm_.emplace(scope / "skip_norm", shape.out, skip_groups(shape.out), config.norm_eps, Activation::silu);
  } else if (with_resnet) {
    upsample_resnet_.emplace(scope / "upsamplers" / 0, upsampler_shape(shape, config), config, projections, size);
  } else {
    upsample_conv_ =
        Convolution::take(scope / "upsamplers" / 0 / "conv", {shape.out, shape.out, 3, 1, 1, Before::doubling}, size.doubled());
  }
}

void UpBlock::operator()(Flow& flow, const Condition& condition) const {
  for (size_t i = 0; i < resnets_.size(); ++i) {
    const auto residual = std::move(flow.residuals.back());
    flow.residuals.pop_back();
    flow.hidden = resnets_[i](flow.hidden, residual, condition);
    if (!skip_ && !attentions_.empty()) flow.hidden = attentions_[i](flow.hidden);
  }
  if (skip_) apply_skip(flow);
  if (upsample_conv_) flow.hidden = (*upsample_conv_)(flow.hidden);
  if (upsample_resnet_) flow.hidden = (*upsample_resnet_)(flow.hidden, condition);
}

void UpBlock::apply_skip(Flow& flow) const {
  if (!attentions_.empty()) flow.hidden = attentions_.front()(flow.hidden);
  if (flow.skip_image.defined()) flow.skip_image = resample(flow.skip_image, Resample::fir_up);
  if (skip_conv_) flow.skip_image = (*skip_conv_)((*skip_norm_)(flow.hidden), {.residual = flow.skip_image});
}

}  // namespace nd
