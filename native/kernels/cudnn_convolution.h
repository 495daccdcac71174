#pragma once

#include <ATen/core/Tensor.h>

#include <array>

namespace nd::cuda {

/// A convolution with bias and residual in its epilogue: all in x's dtype, in NHWC memory.
struct FusedConvolution {
  at::Tensor x;         // [B, I, H, W]
  at::Tensor weight;    // [O, I, k, k]
  at::Tensor bias;      // [O]
  at::Tensor residual;  // of y's shape; undefined for none
  int64_t stride;
  std::array<int64_t, 2> padding, padding_after;  // zeros above and on the left; below and on the right
};

/// y = conv(x) + bias + residual into y, NHWC, which shares memory with none of the others. Of the ways that cuDNN has, the
/// fastest, measured when such a call first comes while MeasuredAlgorithms lives on this thread: y is written several times then.
/// False where this build has no cuDNN headers or cuDNN has no way, and where nothing is measured for a call that has not come
/// before. Then nothing was done.
bool convolution_bias_residual(const FusedConvolution& call, const at::Tensor& y);

}  // namespace nd::cuda
