#pragma once

#include "kernels/cuda/elements.cuh"

/// What the pixels of a convolution's output see of its input.
namespace nd::kernels::cuda {

struct ConvolutionPixels {
  int height, width, stride, padding;  // of the input
  int rows, out_channels;              // the output's pixels of all images, and the channels of each
  int out_width, out_pixels;           // of an image
  Divisor by_out_width, by_out_pixels;
};

inline ConvolutionPixels pixels_of(const ConvolutionExtents& extents) {
  const auto out_width = static_cast<int>(extents.out_width), out_pixels = static_cast<int>(extents.out_height) * out_width;
  return {static_cast<int>(extents.height), static_cast<int>(extents.width), extents.stride, extents.padding,
          static_cast<int>(extents.batch) * out_pixels, static_cast<int>(extents.out_channels), out_width, out_pixels,
          divisor(out_width), divisor(out_pixels)};
}

/// Where the kernel's first tap lies, in an image or outside.
struct Corner {
  int image, y, x;
};

__device__ __forceinline__ Corner corner_of(const ConvolutionPixels& pixels, int row) {
  const int image = quotient(row, pixels.by_out_pixels), pixel = row - image * pixels.out_pixels;
  const int y = quotient(pixel, pixels.by_out_width), x = pixel - y * pixels.out_width;
  return {image, y * pixels.stride - pixels.padding, x * pixels.stride - pixels.padding};
}

__device__ __forceinline__ bool is_inside(int y, int x, int height, int width) {
  return (static_cast<unsigned>(y) < static_cast<unsigned>(height)) & (static_cast<unsigned>(x) < static_cast<unsigned>(width));
}

/// visit(Type<T>) with the half's T.
template <typename Visit>
void dispatch_half(Element element, const Visit& visit) {
  if (element == Element::f16) return visit(Type<__half>{});
  visit(Type<__nv_bfloat16>{});
}

}  // namespace nd::kernels::cuda
