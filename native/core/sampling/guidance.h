#pragma once

#include <ATen/core/Tensor.h>

namespace nd {

/// Classifier-free guidance: ε = ε_uncond + s (ε_cond − ε_uncond), Ho & Salimans 2022 (arXiv:2207.12598), eq. 6 with s = 1 + w,
/// in float32 at least. Of a model with learned variance only ε is guided, as in DiT: the variance half is the conditional one.
///
/// output: [2B, C or 2C, H, W], the predictions of B samples for their classes, then for the null class; scales: [B] or [1],
/// on its device. Gives [B, C or 2C, H, W]. Throws ERR_SHAPE.
at::Tensor guide(const at::Tensor& output, int64_t channels, const at::Tensor& scales);

}  // namespace nd
