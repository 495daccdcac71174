#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/scratch.h"

namespace nd::kernels {

// T is float, or uint16_t for bfloat16 as its bits. Sums are in float either way.

/// The weights of a 3×3 convolution, [out_channels, in_channels, 3, 3], reordered for conv3x3_nhwc. They take no more
/// memory than the original but for out_channels rounded up to 16, and come back bit by bit.
template <typename T>
class Conv3x3Weights {
 public:
  Conv3x3Weights(const T* oihw, int64_t out_channels, int64_t in_channels);
  void unpack(T* oihw) const;

  int64_t out_channels() const { return out_channels_; }
  int64_t in_channels() const { return in_channels_; }
  size_t bytes() const { return packed_.bytes(); }

  /// Output channels are dealt in panels of 32, the last of 16 where that suffices.
  static constexpr int64_t kPanel = 32;
  int64_t panels() const { return (out_channels_ + kPanel - 1) / kPanel; }
  int64_t lanes(int64_t panel) const { return out_channels_ - panel * kPanel <= kPanel / 2 ? kPanel / 2 : kPanel; }
  /// [in_channels][9][lanes]
  const T* panel(int64_t panel) const { return packed() + panel * kPanel * 9 * in_channels_; }

 private:
  T* packed() const { return static_cast<T*>(packed_.data()); }

  int64_t out_channels_, in_channels_;
  AlignedMemory packed_;
};

struct Conv3x3Shape {
  int64_t batch, height, width;
};

/// What follows the convolution: y = (x∗w + bias_c + offset_bc + residual)·factor, each null where there is none.
template <typename T>
struct Conv3x3Epilogue {
  const float* bias = nullptr;      // [out_channels]
  const float* offset = nullptr;    // [batch, out_channels], `offset_stride` between rows
  int64_t offset_stride = 0;
  const T* residual = nullptr;      // as y; may be y
  float factor = 1;
};

/// The convolution of stride 1 and padding 1 over NHWC memory, by Winograd's F(4×4, 3×3). x: [batch, height, width,
/// in_channels], y: [batch, height, width, out_channels], dense, y apart from x. The relative error in float is about
/// 0.8·10⁻⁶ at any number of channels. A sample's result depends neither on its place in the batch, the batch's size
/// nor the number of threads. An infinity or NaN reaches outputs up to 4 pixels away, not 1: all of its tiles'.
template <typename T>
void conv3x3_nhwc(const T* x, T* y, Conv3x3Shape shape, const Conv3x3Weights<T>& weights,
                  const Conv3x3Epilogue<T>& epilogue, Scratch& scratch);

/// Whether conv3x3_nhwc<T> is faster here than oneDNN's direct convolution: wherever there are vector kernels, but for
/// bfloat16 with a matrix unit.
template <typename T>
bool conv3x3_pays();

}  // namespace nd::kernels
