#include "core/unet/resnet_block.h"

#include <ATen/ATen.h>

namespace nd {
namespace {

ImageSize resampled(ImageSize size, Resample kind) {
  switch (kind) {
    case Resample::none: return size;
    case Resample::down:
    case Resample::fir_down: return size.halved();
    case Resample::up:
    case Resample::fir_up: return size.doubled();
  }
  return size;
}

int64_t time_width(const ResnetBlock::Shape& shape, const UNet2DConfig& config) {
  return config.resnet_time_scale_shift == TimeScaleShift::scale_shift ? 2 * shape.out : shape.out;
}

}  // namespace

// The members are taken in the order in which diffusers' constructor makes them: a seed then gives its weights.
ResnetBlock::ResnetBlock(const Scope& scope, const Shape& shape, const UNet2DConfig& config, TimeProjections& projections,
                         ImageSize size)
    : resample_(shape.resample),
      output_scale_factor_(shape.output_scale_factor),
      time_scale_shift_(config.resnet_time_scale_shift),
      norm1_(scope / "norm1", shape.in, shape.groups, config.norm_eps, config.act_fn),
      conv1_(Convolution::take(scope / "conv1", {shape.in, shape.out, 3, 1, 1}, resampled(size, resample_))),
      time_slot_(projections.add(scope / "time_emb_proj", config.time_embed_dim(), time_width(shape, config))),
      norm2_(scope / "norm2", shape.out, shape.groups_out, config.norm_eps, config.act_fn),
      conv2_(Convolution::take(scope / "conv2", {shape.out, shape.out, 3, 1, 1}, resampled(size, resample_))) {
  if (shape.shortcut || shape.in != shape.out) {
    shortcut_ = Convolution::take(scope / "conv_shortcut", {shape.in, shape.out, 1}, resampled(size, resample_));
    if (conv2_->bias().values.defined() && shortcut_->bias().values.defined()) {
      const auto floats = conv2_->bias().floats + shortcut_->bias().floats;
      last_bias_ = {floats.to(conv2_->bias().values.scalar_type()), floats};
    }
  }
  if (time_scale_shift_ == TimeScaleShift::shift) projections.fold(time_slot_, conv1_->bias().floats);
}

/// The second norm of the first convolution, with the time in one of them.
at::Tensor ResnetBlock::normed(const at::Tensor& h, const Condition& condition) const {
  const bool shifts = time_scale_shift_ == TimeScaleShift::shift;
  if (condition.is_for_cuda()) {
    // Either way the norm's pass adds the convolution's bias; with `shift` it is in the time's rows already.
    const auto time = condition.rows(time_slot_);
    const auto sums = conv1_->without_bias(h);
    if (shifts) return norm2_.in_place(sums, time);
    const cuda::ChannelRows shift{time.first + time_slot_.width / 2, time.stride};
    return norm2_.in_place(sums, cuda::channel_rows(conv1_->bias().floats.unsqueeze(0)), {time, shift});
  }
  const auto time = condition[time_slot_];
  if (shifts) return norm2_.in_place((*conv1_)(h, {.offset = time}));
  const auto halves = time.chunk(2, 1);
  return norm2_.in_place((*conv1_)(h), Modulation{halves[0], halves[1]});
}

at::Tensor ResnetBlock::operator()(const at::Tensor& x, const Condition& condition) const {
  const auto h = normed(resample(norm1_(x), resample_), condition);
  const auto past = resample(x, resample_);
  if (shortcut_ && condition.is_for_cuda()) return finished_on_cuda(h, past, {});
  return (*conv2_)(h, {.residual = shortcut_ ? (*shortcut_)(past) : past,
                       .into_residual = shortcut_ != nullptr,
                       .divisor = output_scale_factor_});
}

at::Tensor ResnetBlock::operator()(const at::Tensor& x, const at::Tensor& second, const Condition& condition) const {
  if (!condition.is_for_cuda() || !shortcut_ || resample_ != Resample::none) return (*this)(at::cat({x, second}, 1), condition);
  const auto h = normed(norm1_.of_two(x, second), condition);
  return finished_on_cuda(h, x, second);
}

/// The second convolution adds the shortcut's bias too.
at::Tensor ResnetBlock::finished_on_cuda(const at::Tensor& h, const at::Tensor& past, const at::Tensor& second) const {
  return conv2_->with_shortcut(h, *shortcut_, past, second, {.divisor = output_scale_factor_, .bias = &last_bias_});
}

}  // namespace nd
