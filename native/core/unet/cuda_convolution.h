#pragma once

#include "core/unet/convolution.h"
#include "core/unet/measured_way.h"
#include "kernels/cuda_convolutions.h"

namespace nd {

/// A doubled image's 3×3 convolution is one of 2×2 of the image itself for each of the four pixels that one becomes: they see
/// every neighbour twice in a direction, once with each of two weights, so that their sum serves. The output 2i + a reads the
/// rows i − 1 + a and i + a:
///
///     a = 0: w₀, w₁ + w₂        a = 1: w₀ + w₁, w₂
///
/// 16 products in place of 36.
///
/// weight: [out, in, 3, 3]; returns [4·out, in, 2, 2], phase 2a + b of rows a and columns b after another.
at::Tensor doubling_phases(const at::Tensor& weight);
/// The convolution of a doubled x, [B, in, H, W] in NHWC memory, with bias [out] in x's dtype: each phase by a convolution of its own,
/// which computes no more than is wanted of it. Undefined where cuDNN has none with a bias.
at::Tensor doubled_by_phases(const at::Tensor& x, const at::Tensor& phases, const at::Tensor& bias);

/// A convolution where the kernels of CUDA serve, in the way that is fastest for its input's size: cuDNN's kernels with an
/// epilogue or without, our own for few outputs or channels, for 1×1 ones cuBLAS's products too.
class CudaConvolution {
 public:
  CudaConvolution(const at::Tensor& weight, const ConvolutionBias& bias, ConvShape shape);

  at::Tensor operator()(const at::Tensor& x, const Epilogue& epilogue) const;
  at::Tensor without_bias(const at::Tensor& x) const;
  at::Tensor without_bias_of_two(const at::Tensor& x, const at::Tensor& second) const;
  /// (*this)(x, epilogue) + the 1×1 shortcut without its bias of `past`, and of `second` beside it where that is defined.
  at::Tensor with_shortcut(const at::Tensor& x, const CudaConvolution& shortcut, const at::Tensor& past,
                           const at::Tensor& second, const Epilogue& epilogue) const;

  const at::Tensor& weight() const { return weight_; }

 private:
  /// A product over the pixels, whose channels lie side by side.
  bool is_product() const { return shape_.kernel == 1 && shape_.stride == 1 && shape_.padding == 0; }
  at::Tensor weight_columns(int64_t first, int64_t count) const;
  int64_t padding_after() const;
  at::Tensor empty_output(const at::Tensor& x, int64_t channels) const;
  const ConvolutionBias& bias_of(const Epilogue& epilogue) const;

  at::Tensor finished(const at::Tensor& x, const Epilogue& epilogue) const;
  at::Tensor by_libraries(const at::Tensor& x, const Epilogue& epilogue) const;
  at::Tensor without_bias_by_libraries(const at::Tensor& x) const;
  at::Tensor in_one_kernel(const at::Tensor& x, const Epilogue& epilogue, const at::Tensor& residual) const;
  at::Tensor by_our_kernel(const at::Tensor& x, const ConvolutionBias* bias, const at::Tensor& residual, double divisor,
                           const cuda::PointwiseTerm& past = {}) const;

  ConvShape shape_;
  at::Tensor weight_;  // [out, in, k, k] in NHWC memory
  ConvolutionBias bias_;
  // With zeros for channels up to whole vectors, which the fast kernels want; undefined where there are whole ones.
  at::Tensor widened_weight_;
  ConvolutionBias widened_bias_;
  at::Tensor thin_weight_;  // of few channels
  at::Tensor phases_;       // doubling_phases, of a 3×3 convolution of a doubled image alone
  mutable MeasuredWay in_one_, wide_, by_phases_, phases_apart_, ours_, narrow_, joins_shortcut_;
};

}  // namespace nd
