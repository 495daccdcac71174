#include "core/unet/convolution.h"

#include <ATen/ATen.h>
#include <ATen/Context.h>

#include <cmath>

#include "core/device.h"
#include "core/unet/cuda_convolution.h"
#include "core/unet/onednn_ops.h"
#include "core/unet/resample.h"
#include "kernels/cuda_ops.h"

namespace nd {
namespace {

/// With fewer input channels, oneDNN's bfloat16 convolution is faster.
constexpr int64_t fewest_bfloat16_channels = 16;

template <typename T>
bool winograd_serves(ConvShape shape, ModelTarget target) {
  constexpr auto dtype = std::is_same_v<T, float> ? at::kFloat : at::kBFloat16;
  return target.device.is_cpu() && target.dtype == dtype && shape.kernel == 3 && shape.stride == 1 && shape.padding == 1 &&
         (dtype == at::kFloat || shape.in >= fewest_bfloat16_channels) && kernels::conv3x3_pays<T>();
}

template <typename T>
std::unique_ptr<const kernels::Conv3x3Weights<T>> pack_winograd(const at::Tensor& weight, ConvShape shape) {
  const auto oihw = weight.contiguous();
  return std::make_unique<const kernels::Conv3x3Weights<T>>(static_cast<const T*>(oihw.const_data_ptr()), shape.out,
                                                            shape.in);
}

/// [B, C] as [B, C, 1, 1].
at::Tensor spatial(const at::Tensor& rows) { return rows.unsqueeze(-1).unsqueeze(-1); }

}  // namespace

at::Tensor conv2d_as_set(const at::Tensor& x, const at::Tensor& weight, int64_t stride, int64_t padding, int64_t groups,
                        bool transposed) {
  const auto& context = at::globalContext();
  const bool deterministic = context.deterministicCuDNN() || context.deterministicAlgorithms();
  return at::_convolution(x, weight, /*bias=*/{}, {stride, stride}, {padding, padding}, /*dilation=*/{1, 1}, transposed,
                          /*output_padding=*/{0, 0}, groups, /*benchmark=*/cuda::measures_algorithms(), deterministic,
                          context.userEnabledCuDNN(), tf32_allowed());
}

at::Tensor prepared(const at::Tensor& x, Before before) {
  switch (before) {
    case Before::nothing: return x;
    case Before::zeros_right_below: return padded_right_below(x);
    case Before::doubling: return resample(x, Resample::up);
  }
  return x;
}

Init fan_in_weight_init(int64_t fan_in) {
  // In torch's order of operations, so that one seed gives the same weights: gain = √(2/(1 + a²)), a = √5.
  const double gain = std::sqrt(2.0 / (1.0 + std::pow(std::sqrt(5.0), 2)));
  return {Init::Kind::uniform, std::sqrt(3.0) * (gain / std::sqrt(static_cast<double>(fan_in)))};
}

Init fan_in_bias_init(int64_t fan_in) {
  return {Init::Kind::uniform, 1.0 / std::sqrt(static_cast<double>(fan_in))};
}

Convolution::Convolution(const at::Tensor& weight, const at::Tensor& bias, ConvShape shape, ModelTarget target,
                         ImageSize size)
    : shape_(shape), dtype_(target.dtype) {
  if (!weight.defined() || !bias.defined()) return;
  bias_ = {bias.clone(), bias.to(at::kFloat)};
  if (winograd_serves<float>(shape, target)) {
    weight_ = pack_winograd<float>(weight, shape);
  } else if (winograd_serves<uint16_t>(shape, target)) {
    weight_ = pack_winograd<uint16_t>(weight, shape);
  } else if (target.device.is_cpu() && onednn::available(target.dtype)) {
    weight_ = OneDnnWeight{onednn::pack(weight, {shape.stride, shape.padding}, {1, shape.in, size.height, size.width})};
  } else if (cuda::serves(target.device, target.dtype)) {
    weight_ = std::make_unique<const CudaConvolution>(weight, bias_, shape);
  } else {
    weight_ = PlainWeight{weight.clone(at::MemoryFormat::ChannelsLast)};
  }
}

ConvolutionPtr Convolution::take(const Scope& scope, ConvShape shape, ImageSize size) {
  const auto fan_in = shape.in * shape.kernel * shape.kernel;
  const std::array<int64_t, 4> weight_shape{shape.out, shape.in, shape.kernel, shape.kernel};
  const auto weight = scope.take("weight", weight_shape, fan_in_weight_init(fan_in));
  const auto bias = scope.take("bias", shape.out, fan_in_bias_init(fan_in));
  auto layer = std::make_shared<const Convolution>(weight, bias, shape, scope.target(), size);
  scope.keep("weight", weight_shape, [layer] { return layer->weight(); });
  scope.keep("bias", shape.out, [layer] { return layer->bias().values; });
  return layer;
}

Convolution::~Convolution() = default;

at::Tensor Convolution::operator()(const at::Tensor& image, const Epilogue& epilogue) const {
  if (const auto* cuda = std::get_if<CudaWeight>(&weight_)) return (**cuda)(image, epilogue);
  const auto x = prepared(image, shape_.before);
  if (const auto* weights = std::get_if<WinogradWeights<float>>(&weight_)) return winograd(**weights, x, epilogue);
  if (const auto* weights = std::get_if<WinogradWeights<uint16_t>>(&weight_)) return winograd(**weights, x, epilogue);
  auto y = std::holds_alternative<OneDnnWeight>(weight_) ? onednn(x, epilogue) : plain(x, epilogue);
  return epilogue.divisor == 1 ? y : y.div_(epilogue.divisor);
}

template <typename T>
at::Tensor Convolution::winograd(const kernels::Conv3x3Weights<T>& weights, const at::Tensor& x,
                                 const Epilogue& epilogue) const {
  const auto input = x.contiguous(at::MemoryFormat::ChannelsLast);
  const auto offset = epilogue.offset.defined() ? epilogue.offset.to(at::kFloat).contiguous() : at::Tensor();
  const auto residual =
      epilogue.residual.defined() ? epilogue.residual.contiguous(at::MemoryFormat::ChannelsLast) : at::Tensor();
  auto y = epilogue.into_residual ? residual
                                  : at::empty({x.size(0), shape_.out, x.size(2), x.size(3)},
                                              x.options().memory_format(at::MemoryFormat::ChannelsLast));
  kernels::Conv3x3Epilogue<T> after;
  after.bias = bias_.floats.const_data_ptr<float>();
  if (offset.defined()) {
    after.offset = offset.const_data_ptr<float>();
    after.offset_stride = shape_.out;
  }
  if (residual.defined()) after.residual = static_cast<const T*>(residual.const_data_ptr());
  after.factor = static_cast<float>(1 / epilogue.divisor);
  kernels::conv3x3_nhwc<T>(static_cast<const T*>(input.const_data_ptr()), static_cast<T*>(y.mutable_data_ptr()),
                           {x.size(0), x.size(2), x.size(3)}, weights, after,
                           kernels::Scratch::of_this_thread());
  return y;
}

at::Tensor Convolution::onednn(const at::Tensor& x, const Epilogue& epilogue) const {
  const auto& packed = std::get<OneDnnWeight>(weight_).packed;
  const onednn::ConvGeometry geometry{shape_.stride, shape_.padding};
  if (epilogue.residual.defined()) {
    // One addend fits into oneDNN's pass; no layer has both.
    auto y = epilogue.residual;
    if (epilogue.into_residual) {
      onednn::convolution_accumulate(y, x, packed, bias_.values, geometry);
    } else {
      y = onednn::convolution_add(x, y, packed, bias_.values, geometry);
    }
    return epilogue.offset.defined() ? y.add_(spatial(epilogue.offset)) : y;
  }
  return epilogue.offset.defined() ? onednn::convolution_add(x, spatial(epilogue.offset), packed, bias_.values, geometry)
                                   : onednn::convolution(x, packed, bias_.values, geometry);
}

at::Tensor Convolution::without_bias(const at::Tensor& x) const {
  return std::get<CudaWeight>(weight_)->without_bias(x);
}

at::Tensor Convolution::without_bias_of_two(const at::Tensor& x, const at::Tensor& second) const {
  return std::get<CudaWeight>(weight_)->without_bias_of_two(x, second);
}

at::Tensor Convolution::with_shortcut(const at::Tensor& x, const Convolution& shortcut, const at::Tensor& past,
                                      const at::Tensor& second, const Epilogue& epilogue) const {
  return std::get<CudaWeight>(weight_)->with_shortcut(x, *std::get<CudaWeight>(shortcut.weight_), past, second, epilogue);
}

at::Tensor Convolution::plain(const at::Tensor& x, const Epilogue& epilogue) const {
  auto y = at::conv2d(x, std::get<PlainWeight>(weight_).channels_last, bias_.values, shape_.stride, shape_.padding);
  if (epilogue.offset.defined()) y.add_(spatial(epilogue.offset));
  if (epilogue.residual.defined()) y.add_(epilogue.residual);
  return y;
}

at::Tensor Convolution::weight() const {
  if (const auto* weight = std::get_if<OneDnnWeight>(&weight_)) return weight->packed.to_dense().contiguous();
  if (const auto* cuda = std::get_if<CudaWeight>(&weight_)) return (*cuda)->weight().contiguous();
  if (const auto* weight = std::get_if<PlainWeight>(&weight_)) return weight->channels_last.contiguous();
  auto oihw = at::empty({shape_.out, shape_.in, shape_.kernel, shape_.kernel}, dtype_);
  if (const auto* weights = std::get_if<WinogradWeights<float>>(&weight_)) {
    (*weights)->unpack(oihw.mutable_data_ptr<float>());
  } else {
    std::get<WinogradWeights<uint16_t>>(weight_)->unpack(static_cast<uint16_t*>(oihw.mutable_data_ptr()));
  }
  return oihw;
}

}  // namespace nd
