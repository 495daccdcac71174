#include "core/unet/normalization.h"

#include <ATen/ATen.h>

#include "kernels/group_norm.h"

namespace nd {
namespace {

/// Our kernel takes dense NHWC memory of these dtypes on the CPU; anything else goes through libtorch's operators.
bool kernel_serves(const at::Tensor& x) {
  return x.device().is_cpu() && (x.scalar_type() == at::kFloat || x.scalar_type() == at::kBFloat16) &&
         x.is_contiguous(at::MemoryFormat::ChannelsLast);
}

/// [B, C] as [B, C, 1, 1].
at::Tensor spatial(const at::Tensor& rows) { return rows.unsqueeze(-1).unsqueeze(-1); }

}  // namespace

at::Tensor activate_(at::Tensor y, Activation activation) {
  switch (activation) {
    case Activation::silu: return at::silu_(y);
    case Activation::mish: return at::mish_(y);
    case Activation::gelu: return at::gelu_(y);
    case Activation::relu: return at::relu_(y);
  }
  return y;
}

GroupNorm::GroupNorm(const Scope& scope, int64_t channels, int64_t groups, double eps, std::optional<Activation> activation)
    : channels_(channels), groups_(groups), eps_(eps), activation_(activation) {
  const auto weight = scope.take("weight", channels, {Init::Kind::constant, 1});
  const auto bias = scope.take("bias", channels, {Init::Kind::constant, 0});
  if (!weight.defined() || !bias.defined()) return;
  weight_ = weight.clone();
  bias_ = bias.clone();
  weight_float_ = weight_.to(at::kFloat);
  bias_float_ = bias_.to(at::kFloat);
  scope.keep("weight", channels, [weight = weight_] { return weight; });
  scope.keep("bias", channels, [bias = bias_] { return bias; });
}

at::Tensor GroupNorm::operator()(const at::Tensor& x, const std::optional<Modulation>& modulation) const {
  return apply(x, false, modulation);
}

at::Tensor GroupNorm::in_place(const at::Tensor& x, const std::optional<Modulation>& modulation) const {
  return apply(x, true, modulation);
}

at::Tensor GroupNorm::in_place(const at::Tensor& x, cuda::ChannelRows add, const CudaModulation& modulation) const {
  return on_cuda(x, {}, x, add, modulation);
}

at::Tensor GroupNorm::of_two(const at::Tensor& x, const at::Tensor& second) const {
  const auto first = x.contiguous(at::MemoryFormat::ChannelsLast);
  const auto y = at::empty({x.size(0), channels_, x.size(2), x.size(3)},
                           x.options().memory_format(at::MemoryFormat::ChannelsLast));
  return on_cuda(first, second.contiguous(at::MemoryFormat::ChannelsLast), y, {}, {});
}

at::Tensor GroupNorm::on_cuda(const at::Tensor& x, const at::Tensor& second, const at::Tensor& y, cuda::ChannelRows add,
                              const CudaModulation& modulation) const {
  const bool fused = activation_ == Activation::silu;
  cuda::group_norm(x, second, y, add, groups_,
                   {weight_float_.const_data_ptr<float>(), bias_float_.const_data_ptr<float>(), modulation.scale.first,
                    modulation.shift.first, modulation.scale.stride, static_cast<float>(eps_),
                    fused ? kernels::NormActivation::silu : kernels::NormActivation::none});
  return activation_ && !fused ? activate_(y, *activation_) : y;
}

at::Tensor GroupNorm::apply(const at::Tensor& x, bool may_write, const std::optional<Modulation>& modulation) const {
  if (!modulation && cuda::serves(x.device(), x.scalar_type())) {
    const auto input = x.contiguous(at::MemoryFormat::ChannelsLast);
    return on_cuda(input, {}, may_write ? input : at::empty_like(input), {}, {});
  }
  if (!kernel_serves(x)) {
    auto y = at::group_norm(x, groups_, weight_, bias_, eps_);
    if (modulation) y = y * (1 + spatial(modulation->scale)) + spatial(modulation->shift);
    return (activation_ ? activate_(y, *activation_) : y).contiguous(at::MemoryFormat::ChannelsLast);
  }
  const bool fused = activation_ == Activation::silu;
  at::Tensor scale, shift;
  if (modulation) {
    scale = modulation->scale.to(at::kFloat).contiguous();
    shift = modulation->shift.to(at::kFloat).contiguous();
  }
  auto y = may_write ? x : at::empty_like(x, at::MemoryFormat::ChannelsLast);
  const kernels::GroupNormShape shape{x.size(0), x.size(2) * x.size(3), channels_, groups_};
  const kernels::GroupNormParameters parameters{
      weight_float_.const_data_ptr<float>(),
      bias_float_.const_data_ptr<float>(),
      modulation ? scale.const_data_ptr<float>() : nullptr,
      modulation ? shift.const_data_ptr<float>() : nullptr,
      channels_,
      static_cast<float>(eps_),
      fused ? kernels::NormActivation::silu : kernels::NormActivation::none,
  };
  if (x.scalar_type() == at::kFloat) {
    kernels::group_norm_nhwc(x.const_data_ptr<float>(), y.mutable_data_ptr<float>(), shape, parameters);
  } else {
    kernels::group_norm_nhwc(static_cast<const uint16_t*>(x.const_data_ptr()),
                             static_cast<uint16_t*>(y.mutable_data_ptr()), shape, parameters);
  }
  return activation_ && !fused ? activate_(y, *activation_) : y;
}

}  // namespace nd
