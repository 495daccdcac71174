#include "core/unet/cuda_convolution.h"

#include <ATen/ATen.h>

#include "core/unet/resample.h"
#include "kernels/cuda_ops.h"
#include "kernels/cudnn_convolution.h"

namespace nd {
namespace {

at::Tensor nhwc(const at::Tensor& x) { return x.contiguous(at::MemoryFormat::ChannelsLast); }

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

CudaConvolution::CudaConvolution(const at::Tensor& weight, const ConvolutionBias& bias, ConvShape shape)
    : shape_(shape), weight_(weight.clone(at::MemoryFormat::ChannelsLast)), bias_(bias) {
  const auto in = whole_vectors(shape.in, weight.scalar_type()), out = whole_vectors(shape.out, weight.scalar_type());
  if (!is_product() && (in != shape.in || out != shape.out)) {
    widened_weight_ = nhwc(at::constant_pad_nd(weight, {0, 0, 0, 0, 0, in - shape.in, 0, out - shape.out}));
    widened_bias_ = at::constant_pad_nd(bias.values, {0, out - shape.out});
  }
  if (shape.before == Before::doubling && shape.kernel == 3 && shape.stride == 1 && shape.padding == 1) {
    phases_ = doubling_phases(weight);
  }
}

/// [in, out] of a product over the pixels: the rows of some input channels.
at::Tensor CudaConvolution::weight_columns(int64_t first, int64_t count) const {
  return weight_.view({shape_.out, shape_.in}).narrow(1, first, count).t();
}

at::Tensor CudaConvolution::without_bias(const at::Tensor& x) const {
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

/// conv(x) + bias + residual, or undefined where cuDNN has no kernel for that.
at::Tensor CudaConvolution::in_one_kernel(const at::Tensor& x, const Epilogue& epilogue, const at::Tensor& residual) const {
  const bool is_wide = widened_weight_.defined();
  if (is_wide && (residual.defined() || epilogue.bias != nullptr)) return {};
  const auto& bias = is_wide ? widened_bias_ : (epilogue.bias != nullptr ? *epilogue.bias : bias_).values;
  const auto& weight = is_wide ? widened_weight_ : weight_;
  const bool pads = shape_.before == Before::zeros_right_below;
  const auto input = with_channels(nhwc(pads ? x : prepared(x, shape_.before)), weight.size(1));
  const int64_t after = shape_.padding + (pads ? 1 : 0);
  const auto extent = [&](int64_t size) { return (size + shape_.padding + after - shape_.kernel) / shape_.stride + 1; };
  const auto y = at::empty({x.size(0), weight.size(0), extent(input.size(2)), extent(input.size(3))},
                           x.options().memory_format(at::MemoryFormat::ChannelsLast));
  const bool done = cuda::convolution_bias_residual(
      {input, weight, bias, residual, shape_.stride, shape_.padding, after}, y);
  return done ? y.narrow(1, 0, shape_.out) : at::Tensor();
}

at::Tensor CudaConvolution::finished(const at::Tensor& x, const Epilogue& epilogue) const {
  const auto residual = epilogue.residual.defined() ? nhwc(epilogue.residual) : at::Tensor();
  const auto& bias = epilogue.bias != nullptr ? *epilogue.bias : bias_;
  const bool simple = !epilogue.offset.defined() && epilogue.divisor == 1;
  if (is_product() && simple && !residual.defined()) {
    // cuBLAS adds the bias.
    return image_of(at::addmm(bias.values, pixel_rows(x), weight_columns(0, shape_.in)), x);
  }
  at::Tensor y;
  const auto ours = [&] {
    y = without_bias(x);
    if (epilogue.offset.defined()) y.add_(epilogue.offset.unsqueeze(-1).unsqueeze(-1));
    cuda::add_bias_residual_(y, bias.floats, residual, static_cast<float>(1 / epilogue.divisor));
  };
  const auto in_one = [&] {
    y = in_one_kernel(x, epilogue, residual);
    return y.defined();
  };
  if (simple) {
    in_one_.run(x, ours, in_one);
  } else {
    ours();
  }
  return y;
}

at::Tensor CudaConvolution::operator()(const at::Tensor& x, const Epilogue& epilogue) const {
  const bool plain = !epilogue.residual.defined() && !epilogue.offset.defined() && epilogue.divisor == 1 && !epilogue.bias;
  if (!phases_.defined() || !plain) return finished(x, epilogue);
  at::Tensor y;
  const auto doubled = [&] { y = finished(x, epilogue); };
  const auto phases = [&] {
    y = cuda::join_phases(nhwc(conv2d_as_set(x, phases_, /*stride=*/1, /*padding=*/1)), bias_.floats);
    return true;
  };
  by_phases_.run(x, doubled, phases);
  return y;
}

}  // namespace nd
