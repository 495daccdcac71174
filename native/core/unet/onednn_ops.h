#pragma once

#include <ATen/core/Tensor.h>

#include <optional>

namespace nd::onednn {

/// Whether this CPU and this libtorch run oneDNN's convolutions with prepacked weights in that dtype. The operators are
/// the ones that Inductor's freezing uses; they are looked up by name, and without them the plain convolution serves.
bool available(at::ScalarType dtype);

struct ConvGeometry {
  int64_t stride;
  int64_t padding;
};

/// A weight [O, I, k, k] in the blocked layout that oneDNN likes for inputs of this size; `to_dense()` gives it back.
at::Tensor pack(const at::Tensor& weight, ConvGeometry geometry, at::IntArrayRef input_size);

/// conv(x) + bias, NHWC in and out.
at::Tensor convolution(const at::Tensor& x, const at::Tensor& packed, const at::Tensor& bias, ConvGeometry geometry);

/// conv(x) + bias + addend in one pass; addend is [B, O, 1, 1] or of the output's shape.
at::Tensor convolution_add(const at::Tensor& x, const at::Tensor& addend, const at::Tensor& packed, const at::Tensor& bias,
                           ConvGeometry geometry);

/// sum += conv(x) + bias, in place.
void convolution_accumulate(at::Tensor& sum, const at::Tensor& x, const at::Tensor& packed, const at::Tensor& bias,
                            ConvGeometry geometry);

}  // namespace nd::onednn
