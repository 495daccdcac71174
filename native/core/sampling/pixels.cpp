#include "core/sampling/pixels.h"

#include <ATen/ATen.h>

namespace nd {

at::Tensor to_pixels(const at::Tensor& samples, PixelFormat format) {
  const auto unit = (samples / 2 + 0.5).clamp(0, 1).to(at::kCPU, at::kFloat).permute({0, 2, 3, 1});
  if (format == PixelFormat::unit_float) return unit.contiguous();
  return (unit * 255).round().to(at::kByte).contiguous();
}

}  // namespace nd
