#pragma once

#include <ATen/ATen.h>

#include "gpu/gpu_helpers.h"

/// What the tests of convolutions share.
namespace nd::test {

/// Rounded to the dtype, on the CPU.
inline at::Tensor draw(at::IntArrayRef sizes, at::ScalarType dtype, uint64_t seed) {
  return at::randn(sizes, seeded(seed)).to(dtype);
}

/// A weight whose outputs have about the size of the inputs.
inline at::Tensor draw_weight(int64_t out, int64_t in, int64_t kernel, at::ScalarType dtype, uint64_t seed) {
  const double scale = 1 / std::sqrt(static_cast<double>(kernel * kernel * in));
  return (draw({out, in, kernel, kernel}, at::kFloat, seed) * scale).to(dtype);
}

inline at::Tensor nhwc(const at::Tensor& tensor) { return tensor.to(kGpu).contiguous(at::MemoryFormat::ChannelsLast); }

inline at::Tensor exact(const at::Tensor& tensor) { return tensor.to(at::kDouble).to(kGpu); }

/// By the norm, and no element further than that from the largest.
inline void expect_within(const at::Tensor& y, const at::Tensor& expected, double tolerance) {
  const auto exact = expected.to(y.device());
  EXPECT(relative_error(y, exact) <= tolerance);
  EXPECT((y.to(at::kDouble) - exact).abs().max().item<double>() <= tolerance * exact.abs().max().item<double>());
}

/// As many ways of cuDNN's are measured as for users, where main.cpp wants one only: the other way is at its best too.
struct ManyAlgorithms {
  ManyAlgorithms() { at::globalContext().setBenchmarkLimitCuDNN(10); }
  ~ManyAlgorithms() { at::globalContext().setBenchmarkLimitCuDNN(1); }
};

}  // namespace nd::test
