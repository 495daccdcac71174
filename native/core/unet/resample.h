#pragma once

#include <ATen/core/Tensor.h>

namespace nd {

/// What a ResNet block does to its image between the first activation and the first convolution.
enum class Resample { none, down, up, fir_down, fir_up };

/// Halves or doubles height and width of an NHWC image: 2×2 means and nearest neighbours, or the FIR filter (1, 3, 3, 1)
/// of StyleGAN2 (arXiv:1912.04958) with which the Skip blocks resample.
at::Tensor resample(const at::Tensor& x, Resample kind);

/// With a column of zeros on the right and a row of them below.
at::Tensor padded_right_below(const at::Tensor& x);

}  // namespace nd
