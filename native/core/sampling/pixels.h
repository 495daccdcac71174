#pragma once

#include <ATen/core/Tensor.h>

namespace nd {

enum class PixelFormat { unit_float, uint8 };

/// Samples [B, C, H, W] in [−1, 1] as images [B, H, W, C] on the CPU: x/2 + 1/2 clamped to [0, 1], in float32 or, times 255
/// and rounded half to even, in uint8 (diffusers' VaeImageProcessor.denormalize and numpy_to_pil).
at::Tensor to_pixels(const at::Tensor& samples, PixelFormat format);

}  // namespace nd
