#pragma once

#include "core/unet/convolution.h"
#include "core/unet/normalization.h"

#include <optional>

namespace nd {

/// diffusers' Attention as the UNet uses it: self-attention over the pixels with its own norm and residual.
class Attention {
 public:
  struct Shape {
    int64_t channels;
    int64_t head_dim;                    // heads = channels / head_dim, a remainder is left out
    std::optional<int64_t> norm_groups;  // none: no norm
    double norm_eps;
    double output_scale_factor = 1;
  };

  Attention(const Scope& scope, const Shape& shape, ImageSize size);

  at::Tensor operator()(const at::Tensor& x) const;

 private:
  int64_t heads_, head_dim_;
  double output_scale_factor_;
  std::optional<GroupNorm> norm_;
  ConvolutionPtr to_qkv_, to_out_;  // linear layers over the pixels are 1×1 convolutions
};

}  // namespace nd
