#include "core/unet/attention.h"

#include <ATen/ATen.h>

#include "kernels/attention.h"

namespace nd {
namespace {

constexpr std::array<const char*, 3> qkv_names{"to_q", "to_k", "to_v"};

/// to_q, to_k and to_v as one product.
ConvolutionPtr take_qkv(const Scope& scope, int64_t channels, int64_t inner, ImageSize size) {
  const std::array<int64_t, 2> shape{inner, channels};
  std::vector<at::Tensor> weights, biases;
  bool complete = true;
  for (const auto* name : qkv_names) {
    weights.push_back((scope / name).take("weight", shape, fan_in_weight_init(channels)));
    biases.push_back((scope / name).take("bias", inner, fan_in_bias_init(channels)));
    complete = complete && weights.back().defined() && biases.back().defined();
  }
  const auto all = [&](const std::vector<at::Tensor>& parts) { return complete ? at::cat(parts) : at::Tensor(); };
  auto weight = all(weights);
  if (complete) weight = weight.view({3 * inner, channels, 1, 1});
  auto layer = std::make_shared<const Convolution>(weight, all(biases), ConvShape{channels, 3 * inner, 1}, scope.target(), size);
  for (int64_t i = 0; i < 3; ++i) {
    (scope / qkv_names[i]).keep("weight", shape, [=] {
      return layer->weight().narrow(0, i * inner, inner).view({inner, channels}).clone();
    });
    (scope / qkv_names[i]).keep("bias", inner, [=] { return layer->bias().values.narrow(0, i * inner, inner); });
  }
  return layer;
}

ConvolutionPtr take_out(const Scope& scope, int64_t inner, int64_t channels, ImageSize size) {
  const std::array<int64_t, 2> shape{channels, inner};
  auto weight = scope.take("weight", shape, fan_in_weight_init(inner));
  const auto bias = scope.take("bias", channels, fan_in_bias_init(inner));
  if (weight.defined()) weight = weight.view({channels, inner, 1, 1});
  auto layer = std::make_shared<const Convolution>(weight, bias, ConvShape{inner, channels, 1}, scope.target(), size);
  scope.keep("weight", shape, [=] { return layer->weight().view({channels, inner}); });
  scope.keep("bias", channels, [=] { return layer->bias().values; });
  return layer;
}

template <typename T>
at::Tensor attend_on_cpu(const at::Tensor& qkv, kernels::AttentionShape shape) {
  auto y = at::empty({shape.batch, shape.tokens, shape.heads * shape.head_dim}, qkv.options());
  kernels::attention_nhwc<T>(static_cast<const T*>(qkv.const_data_ptr()), static_cast<T*>(y.mutable_data_ptr()), shape,
                             kernels::Scratch::of_this_thread());
  return y;
}

/// qkv: [B, HW, 3, heads, D], dense; returns [B, HW, heads·D].
at::Tensor attend(const at::Tensor& qkv) {
  const kernels::AttentionShape shape{qkv.size(0), qkv.size(1), qkv.size(3), qkv.size(4)};
  if (qkv.is_cpu() && qkv.scalar_type() == at::kFloat && kernels::attention_pays<float>()) {
    return attend_on_cpu<float>(qkv, shape);
  }
  if (qkv.is_cpu() && qkv.scalar_type() == at::kBFloat16 && kernels::attention_pays<uint16_t>()) {
    return attend_on_cpu<uint16_t>(qkv, shape);
  }
  const auto parts = qkv.unbind(2);  // [B, HW, heads, D] → [B, heads, HW, D]
  // softmax(QKᵀ/√D)·V  (Vaswani et al. 2017, eq. 1)
  const auto y = at::scaled_dot_product_attention(parts[0].transpose(1, 2), parts[1].transpose(1, 2),
                                                  parts[2].transpose(1, 2));
  return y.transpose(1, 2).reshape({shape.batch, shape.tokens, shape.heads * shape.head_dim});
}

}  // namespace

Attention::Attention(const Scope& scope, const Shape& shape, ImageSize size)
    : heads_(shape.channels / shape.head_dim), head_dim_(shape.head_dim), output_scale_factor_(shape.output_scale_factor) {
  if (shape.norm_groups) {
    norm_.emplace(scope / "group_norm", shape.channels, *shape.norm_groups, shape.norm_eps, std::nullopt);
  }
  const auto inner = heads_ * head_dim_;
  to_qkv_ = take_qkv(scope, shape.channels, inner, size);
  to_out_ = take_out(scope / "to_out" / 0, inner, shape.channels, size);
}

at::Tensor Attention::operator()(const at::Tensor& x) const {
  const auto batch = x.size(0), height = x.size(2), width = x.size(3);
  const auto qkv = (*to_qkv_)(norm_ ? (*norm_)(x) : x);  // [B, 3·heads·D, H, W], NHWC
  const auto rows = qkv.permute({0, 2, 3, 1}).reshape({batch, height * width, 3, heads_, head_dim_}).contiguous();
  const auto pixels = attend(rows).reshape({batch, height, width, heads_ * head_dim_});
  return (*to_out_)(pixels.permute({0, 3, 1, 2}), {.residual = x, .divisor = output_scale_factor_});
}

}  // namespace nd
