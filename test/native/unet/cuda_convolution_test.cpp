#include "core/unet/cuda_convolution.h"

#include <ATen/ATen.h>
#include <ATen/CPUGeneratorImpl.h>

#include "check.h"

using namespace nd;

TEST("a doubled image's convolution is four of the image itself") {
  const int64_t batch = 2, in = 3, out = 5, height = 4, width = 6;
  const auto x = at::randn({batch, in, height, width}, at::detail::createCPUGenerator(1));
  const auto weight = at::randn({out, in, 3, 3}, at::detail::createCPUGenerator(2));
  const auto phases = doubling_phases(weight);
  EXPECT(phases.sizes() == at::IntArrayRef({4 * out, in, 2, 2}));
  const auto z = at::conv2d(x, phases, {}, 1, 1).view({batch, 2, 2, out, height + 1, width + 1});
  auto y = at::empty({batch, out, 2 * height, 2 * width});
  for (const int64_t a : {0, 1}) {
    for (const int64_t b : {0, 1}) {
      const auto phase = z.select(1, a).select(1, b).narrow(2, a, height).narrow(3, b, width);
      y.slice(2, a, std::nullopt, 2).slice(3, b, std::nullopt, 2).copy_(phase);
    }
  }
  const auto doubled = x.repeat_interleave(2, 2).repeat_interleave(2, 3);
  EXPECT(at::allclose(y, at::conv2d(doubled, weight, {}, 1, 1), 1e-5, 1e-5));
}
