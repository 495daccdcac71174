#include "core/unet/cuda_convolution.h"

#include <ATen/ATen.h>

#include "core/unet/resample.h"
#include "kernels/cuda_convolutions.h"
#include "kernels/cuda_ops.h"
#include "kernels/cudnn_convolution.h"

namespace nd {
namespace {

at::Tensor nhwc(const at::Tensor& x) { return x.contiguous(at::MemoryFormat::ChannelsLast); }

at::Tensor nhwc_if_any(const at::Tensor& x) { return x.defined() ? nhwc(x) : at::Tensor(); }

/// Whether it adds the bias and no more.
bool is_plain(const Epilogue& epilogue) {
  return !epilogue.offset.defined() && !epilogue.residual.defined() && epilogue.divisor == 1;
}

/// [B, C, H, W] in NHWC memory as [BHW, C].
at::Tensor pixel_rows(const at::Tensor& x) { return x.permute({0, 2, 3, 1}).reshape({-1, x.size(1)}); }

/// [BHW, C] as [B, C, H, W] in NHWC memory, with another image's B, H and W.
at::Tensor image_of(const at::Tensor& rows, const at::Tensor& other) {
  return rows.view({other.size(0), other.size(2), other.size(3), rows.size(1)}).permute({0, 3, 1, 2});
}

/// With zeros for the channels that x does not have.
at::Tensor with_channels(const at::Tensor& x, int64_t channels) {
  return channels == x.size(1) ? x : nhwc(at::constant_pad_nd(x, {0, 0, 0, 0, 0, channels - x.size(1)}));
}

/// In both directions.
std::array<int64_t, 2> both(int64_t zeros) { return {zeros, zeros}; }

int64_t whole_vectors(int64_t channels, at::ScalarType dtype) {
  const int64_t vector = dtype == at::kFloat ? 4 : 8;
  return (channels + vector - 1) / vector * vector;
}

}  // namespace

at::Tensor doubling_phases(const at::Tensor& weight) {
  const auto phase = [](const at::Tensor& w, int64_t dim, int64_t a) {
    const auto taps = w.split(1, dim);
    return a == 0 ? at::cat({taps[0], taps[1] + taps[2]}, dim) : at::cat({taps[0] + taps[1], taps[2]}, dim);
  };
  const auto w = weight.to(at::kFloat);
  std::vector<at::Tensor> phases;
  for (const int64_t a : {0, 1}) {
    for (const int64_t b : {0, 1}) phases.push_back(phase(phase(w, 2, a), 3, b));
  }
  return nhwc(at::cat(phases).to(weight.scalar_type()));
}

at::Tensor doubled_by_phases(const at::Tensor& x, const at::Tensor& phases, const at::Tensor& bias) {
  const int64_t batch = x.size(0), out = phases.size(0) / 4;
  const auto z = at::empty({4 * batch, out, x.size(2), x.size(3)}, x.options().memory_format(at::MemoryFormat::ChannelsLast));
  for (const int64_t a : {0, 1}) {
    for (const int64_t b : {0, 1}) {
      const int64_t phase = 2 * a + b;
      const auto weight = phases.narrow(0, phase * out, out), y = z.narrow(0, phase * batch, batch);
      if (!cuda::convolution_bias_residual({x, weight, bias, {}, 1, {1 - a, 1 - b}, {a, b}}, y)) return {};
    }
  }
  return cuda::interleave_phases(z);
}

CudaConvolution::CudaConvolution(const at::Tensor& weight, const ConvolutionBias& bias, ConvShape shape)
    : shape_(shape), weight_(weight.clone(at::MemoryFormat::ChannelsLast)), bias_(bias) {
  const auto in = whole_vectors(shape.in, weight.scalar_type()), out = whole_vectors(shape.out, weight.scalar_type());
  if (!is_product() && (in != shape.in || out != shape.out)) {
    widened_weight_ = nhwc(at::constant_pad_nd(weight, {0, 0, 0, 0, 0, in - shape.in, 0, out - shape.out}));
    widened_bias_ = {at::constant_pad_nd(bias.values, {0, out - shape.out}), at::constant_pad_nd(bias.floats, {0, out - shape.out})};
  }
  if (shape.before == Before::nothing) thin_weight_ = cuda::thin_weight(weight);
  if (shape.before == Before::doubling && shape.kernel == 3 && shape.stride == 1 && shape.padding == 1) {
    phases_ = doubling_phases(weight);
  }
}

/// [in, out] of a product over the pixels: the rows of some input channels.
at::Tensor CudaConvolution::weight_columns(int64_t first, int64_t count) const {
  return weight_.view({shape_.out, shape_.in}).narrow(1, first, count).t();
}

/// Zeros on the right and below.
int64_t CudaConvolution::padding_after() const {
  return shape_.padding + (shape_.before == Before::zeros_right_below ? 1 : 0);
}

/// The place for what comes of x.
at::Tensor CudaConvolution::empty_output(const at::Tensor& x, int64_t channels) const {
  const int64_t zoom = shape_.before == Before::doubling ? 2 : 1, zeros = shape_.padding + padding_after();
  const auto extent = [&](int64_t size) { return (zoom * size + zeros - shape_.kernel) / shape_.stride + 1; };
  return at::empty({x.size(0), channels, extent(x.size(2)), extent(x.size(3))},
                   x.options().memory_format(at::MemoryFormat::ChannelsLast));
}

at::Tensor CudaConvolution::without_bias(const at::Tensor& x) const {
  if (is_product()) return without_bias_by_libraries(x);
  at::Tensor y;
  const auto libraries = [&] { y = without_bias_by_libraries(x); };
  const auto ours = [&] {
    y = by_our_kernel(x, nullptr, {}, 1);
    return y.defined();
  };
  ours_.run(x, libraries, ours);
  return y;
}

at::Tensor CudaConvolution::without_bias_by_libraries(const at::Tensor& x) const {
  if (is_product()) return image_of(at::mm(pixel_rows(x), weight_columns(0, shape_.in)), x);
  const auto input = prepared(x, shape_.before);
  at::Tensor y;
  const auto convolve = [&](const at::Tensor& image, const at::Tensor& weight) {
    y = nhwc(conv2d_as_set(image, weight, shape_.stride, shape_.padding));
    return true;
  };
  const auto as_it_is = [&] { convolve(input, weight_); };
  const auto wide = [&] { return convolve(with_channels(input, widened_weight_.size(1)), widened_weight_); };
  const bool can_be_wide = widened_weight_.defined() && widened_weight_.size(0) == shape_.out;
  if (can_be_wide) {
    wide_.run(x, as_it_is, wide);
  } else {
    as_it_is();
  }
  return y;
}

at::Tensor CudaConvolution::without_bias_of_two(const at::Tensor& x, const at::Tensor& second) const {
  auto y = at::mm(pixel_rows(x), weight_columns(0, x.size(1)));
  y.addmm_(pixel_rows(second), weight_columns(x.size(1), second.size(1)));
  return image_of(y, x);
}

/// (conv(x) + bias + residual + past)/divisor by our own kernels, or undefined where none serves.
at::Tensor CudaConvolution::by_our_kernel(const at::Tensor& x, const ConvolutionBias* bias, const at::Tensor& residual,
                                          double divisor, const cuda::PointwiseTerm& past) const {
  if (thin_weight_.defined() && !residual.defined() && !past.x.defined() && divisor == 1) {
    const auto y = empty_output(x, shape_.out);
    const auto floats = bias == nullptr ? at::Tensor() : bias->floats;
    if (cuda::thin_convolution({nhwc(x), thin_weight_, floats, shape_.kernel, shape_.stride, shape_.padding}, y)) return y;
  }
  const bool is_wide = widened_weight_.defined();
  const auto& weight = is_wide ? widened_weight_ : weight_;
  // What has no bias yet is a norm's, which wants whole pixels.
  const bool is_cut = bias == nullptr && weight.size(0) != shape_.out;
  if (is_cut || (is_wide && (residual.defined() || past.x.defined() || (bias != nullptr && bias != &bias_)))) return {};
  const auto y = empty_output(x, weight.size(0));
  const auto floats = bias == nullptr ? at::Tensor() : (is_wide ? widened_bias_ : *bias).floats;
  bool done = false;
  const auto split_k = [&] {
    return done = cuda::split_k_convolution({.x = nhwc(x), .weight = weight, .bias = floats, .residual = residual, .past = past,
                                             .stride = shape_.stride, .padding = shape_.padding,
                                             .doubles = shape_.before == Before::doubling, .scale = static_cast<float>(1 / divisor)}, y);
  };
  const auto narrow = [&] {
    return done = cuda::narrow_convolution({nhwc(x), weight, floats, shape_.kernel, shape_.stride, shape_.padding}, y);
  };
  const bool can_be_narrow = weight.size(0) == cuda::narrow_outputs && shape_.before == Before::nothing && !residual.defined() &&
                             !past.x.defined() && divisor == 1;
  if (can_be_narrow) {
    const auto other = [&] {
      if (!split_k()) narrow();
    };
    narrow_.run(x, other, narrow);
  } else {
    split_k();
  }
  return done ? y.narrow(1, 0, shape_.out) : at::Tensor();
}

/// conv(x) + bias + residual, or undefined where cuDNN has no kernel for that.
at::Tensor CudaConvolution::in_one_kernel(const at::Tensor& x, const Epilogue& epilogue, const at::Tensor& residual) const {
  const bool is_wide = widened_weight_.defined();
  if (is_wide && (residual.defined() || epilogue.bias != nullptr)) return {};
  const auto& bias = is_wide ? widened_bias_ : bias_of(epilogue);
  const auto& weight = is_wide ? widened_weight_ : weight_;
  const bool pads = shape_.before == Before::zeros_right_below;
  const auto input = with_channels(nhwc(pads ? x : prepared(x, shape_.before)), weight.size(1));
  const auto y = empty_output(x, weight.size(0));
  const bool done = cuda::convolution_bias_residual(
      {input, weight, bias.values, residual, shape_.stride, both(shape_.padding), both(padding_after())}, y);
  return done ? y.narrow(1, 0, shape_.out) : at::Tensor();
}

const ConvolutionBias& CudaConvolution::bias_of(const Epilogue& epilogue) const {
  return epilogue.bias != nullptr ? *epilogue.bias : bias_;
}

at::Tensor CudaConvolution::finished(const at::Tensor& x, const Epilogue& epilogue) const {
  if (epilogue.offset.defined()) return by_libraries(x, epilogue);
  at::Tensor y;
  const auto libraries = [&] { y = by_libraries(x, epilogue); };
  const auto ours = [&] {
    y = by_our_kernel(x, &bias_of(epilogue), nhwc_if_any(epilogue.residual), epilogue.divisor);
    return y.defined();
  };
  ours_.run(x, libraries, ours);
  return y;
}

at::Tensor CudaConvolution::by_libraries(const at::Tensor& x, const Epilogue& epilogue) const {
  const auto residual = nhwc_if_any(epilogue.residual);
  at::Tensor y;
  const auto apart = [&] {
    if (is_product() && is_plain(epilogue)) {
      // cuBLAS adds the bias.
      y = image_of(at::addmm(bias_of(epilogue).values, pixel_rows(x), weight_columns(0, shape_.in)), x);
      return;
    }
    y = without_bias_by_libraries(x);
    if (epilogue.offset.defined()) y.add_(epilogue.offset.unsqueeze(-1).unsqueeze(-1));
    cuda::add_bias_residual_(y, bias_of(epilogue).floats, residual, static_cast<float>(1 / epilogue.divisor));
  };
  const auto in_one = [&] {
    y = in_one_kernel(x, epilogue, residual);
    return y.defined();
  };
  if (!epilogue.offset.defined() && epilogue.divisor == 1) {
    in_one_.run(x, apart, in_one);
  } else {
    apart();
  }
  return y;
}

at::Tensor CudaConvolution::with_shortcut(const at::Tensor& x, const CudaConvolution& shortcut, const at::Tensor& past,
                                          const at::Tensor& second, const Epilogue& epilogue) const {
  at::Tensor y;
  const auto apart = [&] {
    auto with_residual = epilogue;
    with_residual.residual = second.defined() ? shortcut.without_bias_of_two(past, second) : shortcut.without_bias(past);
    y = finished(x, with_residual);
  };
  const auto joined = [&] {
    y = by_our_kernel(x, &bias_of(epilogue), {}, epilogue.divisor, {nhwc(past), nhwc_if_any(second), shortcut.weight_});
    return y.defined();
  };
  joins_shortcut_.run(x, apart, joined);
  return y;
}

at::Tensor CudaConvolution::operator()(const at::Tensor& x, const Epilogue& epilogue) const {
  if (!phases_.defined() || !is_plain(epilogue) || epilogue.bias != nullptr) return finished(x, epilogue);
  at::Tensor y;
  const auto doubled = [&] { y = finished(x, epilogue); };
  const auto together = [&] { y = cuda::join_phases(nhwc(conv2d_as_set(x, phases_, /*stride=*/1, /*padding=*/1)), bias_.floats); };
  const auto apart = [&] {
    y = doubled_by_phases(nhwc(x), phases_, bias_.values);
    return y.defined();
  };
  const auto phases = [&] {
    phases_apart_.run(x, together, apart);
    return true;
  };
  by_phases_.run(x, doubled, phases);
  return y;
}

}  // namespace nd
