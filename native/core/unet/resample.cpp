#include "core/unet/resample.h"

#include <ATen/ATen.h>

#include "core/unet/convolution.h"
#include "kernels/cuda_ops.h"

namespace nd {
namespace {

/// [C, 1, 4, 4]: the outer product of (1, 3, 3, 1), its sum 1. Made where x is: a CUDA graph can't wait for a copy.
at::Tensor fir_kernel(const at::Tensor& x) {
  const auto i = at::arange(4, x.options().dtype(at::kFloat));
  const auto taps = i * (3 - i) + 1;
  const auto kernel = at::outer(taps, taps) / 64.0;
  return kernel.to(x.scalar_type()).expand({x.size(1), 1, 4, 4}).contiguous();
}

}  // namespace

at::Tensor resample(const at::Tensor& x, Resample kind) {
  const auto channels = x.size(1);
  switch (kind) {
    case Resample::none: return x;
    case Resample::down: return at::avg_pool2d(x, 2, 2);
    case Resample::up:
      if (cuda::serves(x.device(), x.scalar_type())) {
        return cuda::upsample_nearest(x.contiguous(at::MemoryFormat::ChannelsLast));
      }
      return at::upsample_nearest2d(x, std::nullopt, std::vector<double>{2, 2});
    case Resample::fir_down: return conv2d_as_set(x, fir_kernel(x), 2, 1, channels);
    // Zeros between the pixels, filtered at gain 4: the transposed convolution of the same kernel.
    case Resample::fir_up: return conv2d_as_set(x, fir_kernel(x) * 4, 2, 1, channels, /*transposed=*/true);
  }
  return x;
}

at::Tensor padded_right_below(const at::Tensor& x) {
  if (cuda::serves(x.device(), x.scalar_type())) return cuda::pad_right_below(x.contiguous(at::MemoryFormat::ChannelsLast));
  return at::constant_pad_nd(x, {0, 1, 0, 1});
}

}  // namespace nd
