#pragma once

#include <ATen/core/Tensor.h>

namespace nd::cuda {

/// cuDNN's convolution with bias and residual in its epilogue.
struct FusedConvolution {
  at::Tensor x;         // [B, I, H, W] in NHWC memory
  at::Tensor weight;    // [O, I, k, k] likewise
  at::Tensor bias;      // [O], in x's dtype
  at::Tensor residual;  // of y's shape, NHWC
  int64_t stride, padding;
};

/// y = conv(x) + bias + residual into y, NHWC, which may be the residual. False where this build has no cuDNN headers or cuDNN
/// has no such kernel: then nothing was done.
bool convolution_bias_residual(const FusedConvolution& call, const at::Tensor& y);

}  // namespace nd::cuda
