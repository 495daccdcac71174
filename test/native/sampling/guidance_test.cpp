#include "core/sampling/guidance.h"

#include <ATen/ATen.h>

#include "check.h"

using namespace nd;

namespace {

/// Predictions of two samples of 2 channels, then those for the null class.
at::Tensor predictions(int64_t channels, at::ScalarType dtype = at::kFloat) {
  return at::arange(4 * channels * 4, at::kDouble).sin().mul(3).view({4, channels, 2, 2}).to(dtype);
}

}  // namespace

TEST("guidance is ε_uncond + s (ε_cond − ε_uncond), each sample by its own scale") {
  const auto output = predictions(2);
  const auto guided = guide(output, 2, at::tensor({3.0, 1.0}, at::kDouble));
  const auto first = output[2] + 3 * (output[0] - output[2]);
  EXPECT(at::allclose(guided[0], first, 1e-6, 1e-6));
  EXPECT(at::allclose(guided[1], output[1], 1e-6, 1e-6));
  EXPECT(at::equal(guide(output, 2, at::full({1}, 3.0))[0], guided[0]));
}

TEST("guidance of halves is computed in float32") {
  for (const auto dtype : {at::kBFloat16, at::kHalf}) {
    const auto output = predictions(2, dtype);
    const auto guided = guide(output, 2, at::full({1}, 7.5));
    EXPECT(guided.scalar_type() == at::kFloat);
    EXPECT(at::equal(guided, guide(output.to(at::kFloat), 2, at::full({1}, 7.5))));
  }
  EXPECT(guide(predictions(2, at::kDouble), 2, at::full({1}, 1.1, at::kDouble)).scalar_type() == at::kDouble);
}

TEST("guidance leaves the variance half as the class has it") {
  const auto output = predictions(4);
  const auto guided = guide(output, 2, at::full({1}, 3.0));
  EXPECT(at::equal(guided.narrow(1, 2, 2), output.narrow(0, 0, 2).narrow(1, 2, 2)));
  EXPECT(at::equal(guided.narrow(1, 0, 2), guide(output.narrow(1, 0, 2), 2, at::full({1}, 3.0))));
}

TEST("guidance refuses what is no pair of predictions") {
  const auto scale = at::full({1}, 2.0);
  EXPECT_ERROR(shape, "[2B, 2 or 4, H, W]", guide(at::zeros({3, 2, 2, 2}), 2, scale));
  EXPECT_ERROR(shape, "[2B, 2 or 4, H, W]", guide(at::zeros({4, 1, 2, 2}), 2, scale));
  EXPECT_ERROR(shape, "[2B, 2 or 4, H, W]", guide(at::zeros({4, 2}), 2, scale));
}
