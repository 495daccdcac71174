#pragma once

#include <ATen/core/Tensor.h>

namespace nd::cuda {

/// A 1×1 convolution of an image, or of two side by side in their channels.
struct PointwiseTerm {
  at::Tensor x, second;  // [B, C, H, W] and [B, C₂, H, W], undefined for none
  at::Tensor weight;     // [O, C + C₂, 1, 1]
};

/// A convolution with all that may be added in its kernel: halves, in NHWC memory. Weights and bias must be there before
/// anything that is on the stream now, as a model's are: the kernel reads them early.
struct SplitKCall {
  at::Tensor x;         // [B, I, H, W]
  at::Tensor weight;    // [O, I, k, k]
  at::Tensor bias;      // [O] float, undefined for none
  at::Tensor residual;  // of y's shape, undefined for none
  PointwiseTerm past;   // of images of y's size
  int64_t stride, padding;  // padding: above and on the left; after the last pixel are as many zeros as y wants
  bool doubles;             // x's pixels are four each
  float scale;
};

/// y = (conv(x) + past + bias + residual)·scale into y, NHWC, which shares memory with none of the others. False where the
/// kernel does not serve, or y has so many elements that others are faster; then nothing was done.
bool split_k_convolution(const SplitKCall& call, const at::Tensor& y);

/// A convolution that adds its bias alone: halves, in NHWC memory.
struct PlainCall {
  at::Tensor x;       // [B, I, H, W]
  at::Tensor weight;  // as the kernel wants it; there early, as for split_k_convolution, and so is the bias
  at::Tensor bias;    // [O] float, undefined for none
  int64_t kernel, stride, padding;  // padding: above and on the left; after the last pixel are as many zeros as y wants
};
/// [O, I, k, k] as thin_convolution's kernel reads it; undefined where it does not serve: too many channels, no half, outputs not
/// in 32s.
at::Tensor thin_weight(const at::Tensor& weight);
/// y = conv(x) + bias into y, NHWC, of few channels: kernel²·I ≤ 32. False where the kernel does not serve; then nothing was done.
bool thin_convolution(const PlainCall& call, const at::Tensor& y);
constexpr int64_t narrow_outputs = 8;
/// The same 3×3 to so many channels, with a zero around the image. weight: [8, I, 3, 3].
bool narrow_convolution(const PlainCall& call, const at::Tensor& y);

/// While it lives, none of these serves anything, in the whole process: to measure what they bring.
class LibrariesAlone {
 public:
  LibrariesAlone();
  ~LibrariesAlone();
  LibrariesAlone(const LibrariesAlone&) = delete;
};

}  // namespace nd::cuda
