#pragma once

#include <ATen/ATen.h>
#include <ATen/CPUGeneratorImpl.h>

#include <limits>
#include <vector>

#include "kernels/fused_ops.h"

/// What the tests of the step put into it.
namespace nd::test {

inline at::Tensor random(at::IntArrayRef sizes, uint64_t seed) {
  return at::randn(sizes, at::detail::createCPUGenerator(seed), at::kFloat);
}

inline std::vector<StepRow> rows(bool clipped) {
  const float bound = clipped ? 1.0F : std::numeric_limits<float>::infinity();
  return {{.p = 1, .q = -0.9F, .d = 0.3F, .bound = bound, .c_x0 = 0.2F, .c_xt = 0.7F, .c_out = 0.1F, .sigma = 0.4F, .log_beta = -3, .log_posterior_variance = -4},
          {.p = 0.9F, .q = -0.2F, .d = 1, .bound = bound, .c_x0 = 0.9F, .c_out = 0.3F, .log_beta = -5, .log_posterior_variance = -6},
          {.p = 1, .q = -0.1F, .d = 0.99F, .bound = bound, .c_x0 = 0.5F, .c_xt = 0.5F, .sigma = 1, .log_beta = -7, .log_posterior_variance = -9}};
}

inline StepInputs inputs(at::IntArrayRef shape) {
  StepInputs in;
  in.sample = random(shape, 1);
  in.model_output = random(shape, 2);
  in.noise = random(shape, 3);
  return in;
}

}  // namespace nd::test
