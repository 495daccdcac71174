#include "core/unet/resample.h"

#include <ATen/ATen.h>

#include "core/unet/convolution.h"

namespace nd {
namespace {

/// [C, 1, 4, 4]: the outer product of (1, 3, 3, 1), its sum 1. Made where it is used: a graph of CUDA's can't capture a copy
/// from the host's memory.
at::Tensor fir_kernel(const at::Tensor& x) {
  const auto taps = 4 - 2 * (at::arange(4, at::device(x.device()).dtype(at::kFloat)) - 1.5).abs();
  const auto kernel = at::outer(taps, taps) / 64.0;
  return kernel.to(x.scalar_type()).expand({x.size(1), 1, 4, 4}).contiguous();
}

}  // namespace

at::Tensor resample(const at::Tensor& x, Resample kind) {
  const auto channels = x.size(1);
  switch (kind) {
    case Resample::none: return x;
    case Resample::down: return at::avg_pool2d(x, 2, 2);
    case Resample::up: return at::upsample_nearest2d(x, std::nullopt, std::vector<double>{2, 2});
    case Resample::fir_down: return exact_conv2d(x, fir_kernel(x), 2, 1, channels);
    // Zeros between the pixels, filtered at gain 4: the transposed convolution of the same kernel.
    case Resample::fir_up: return exact_conv2d(x, fir_kernel(x) * 4, 2, 1, channels, /*transposed=*/true);
  }
  return x;
}

}  // namespace nd
