#pragma once

#include <cstdint>

#include "kernels/cuda/kernels.h"

/// A convolution as the kernels' tests have it.
struct ConvolutionShape {
  int64_t batch, height, width, channels, out_channels;
  int kernel = 3, stride = 1, padding = 1, padding_after = padding;
  bool doubles = false;
  int64_t past[2] = {0, 0};  // channels of further images of the output's size, convolved 1×1

  int64_t taps() const { return int64_t{kernel} * kernel; }
  int64_t seen_height() const { return doubles ? 2 * height : height; }
  int64_t seen_width() const { return doubles ? 2 * width : width; }
  int64_t out_height() const { return extent(seen_height()); }
  int64_t out_width() const { return extent(seen_width()); }
  int64_t out_pixels() const { return batch * out_height() * out_width(); }

  nd::kernels::cuda::ConvolutionExtents extents() const {
    return {batch, height, width, out_height(), out_width(), out_channels, kernel, stride, padding};
  }

  /// visit(tap, the pixel of all images that it sees) for each tap of an output's pixel that lies in the image.
  template <typename Visit>
  void each_seen(int64_t out_pixel, const Visit& visit) const {
    const int64_t image = out_pixel / (out_height() * out_width()), pixel = out_pixel % (out_height() * out_width());
    for (int64_t tap = 0; tap < taps(); ++tap) {
      const int64_t y = pixel / out_width() * stride - padding + tap / kernel;
      const int64_t x = pixel % out_width() * stride - padding + tap % kernel;
      if (y < 0 || x < 0 || y >= seen_height() || x >= seen_width()) continue;
      const int64_t zoom = doubles ? 2 : 1;
      visit(tap, (image * height + y / zoom) * width + x / zoom);
    }
  }

 private:
  int64_t extent(int64_t size) const { return (size + padding + padding_after - kernel) / stride + 1; }
};
