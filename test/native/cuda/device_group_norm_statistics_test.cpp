#include <limits>

#include "cuda/group_norm_case.h"

using namespace group_norm_case;

namespace {

/// Channels of one pixel, in every group of a call, that are far from all others.
std::vector<float> with_outliers(const Case& c, const Inputs& in, int64_t pixel, int64_t count) {
  auto x = in.x;
  const int64_t size = c.shape.channels / c.shape.groups;
  for (int64_t sample = 0; sample < c.shape.batch; ++sample) {
    for (int64_t i = 0; i < c.shape.channels; ++i) {
      const auto at = static_cast<size_t>((sample * c.shape.pixels + pixel) * c.shape.channels + i);
      if (i % size < count) x[at] = i / size % 2 == 0 ? 6e4F : -300.0F;
    }
  }
  return values::rounded(c.element, x);
}

}  // namespace

TEST("statistics hold where the mean dwarfs the deviation") {
  for (const int64_t chunk : {int64_t{0}, kChunk}) {
    const Case c{.shape = {1, 900, 64, 8}, .chunk = chunk, .mean = 1000};
    const Inputs in = make_inputs(c);
    // A chunk's mean is a float, whose last place is 6e-5.
    expect_near(c, run(c, in), reference(c, in), chunk == 0 ? 3e-6 : 3e-5);
  }
}

TEST("statistics hold for halves where the mean is some deviations off") {
  for (const Element element : {Element::f16, Element::bf16}) {
    for (const int64_t chunk : {int64_t{0}, kChunk}) {
      const Case c{.shape = {1, 900, 64, 8}, .element = element, .added = true, .chunk = chunk, .mean = 60};
      const Inputs in = make_inputs(c);
      expect_near(c, run(c, in), reference(c, in), 3e-5);
    }
  }
}

TEST("statistics hold for halves where some values of every group are far from all others") {
  for (const Element element : {Element::f16, Element::bf16}) {
    for (const int64_t chunk : {int64_t{0}, kChunk}) {
      const Case c{.shape = {2, 900, 64, 8}, .element = element, .silu = true, .chunk = chunk};
      // The middle of 30 × 30 pixels, or of the chunk's seven: where the pivot is taken.
      for (const int64_t pixel : {int64_t{0}, chunk == 0 ? int64_t{465} : 7 * 60 + int64_t{4}}) {
        for (const int64_t count : {1, 8}) {
          Inputs in = make_inputs(c);
          in.x = with_outliers(c, in, pixel, count);
          // √900 = 30 deviations, of a half's 5e-4 at most.
          expect_near(c, run(c, in), reference(c, in), 2e-4);
        }
      }
    }
  }
}

TEST("statistics of halves are near where all but the pivot's values are equal") {
  const Case c{.shape = {1, 2048, 32, 2}, .element = Element::f16};
  Inputs in = make_inputs(c);
  std::fill(in.x.begin(), in.x.end(), 1.25F);
  const int64_t pixel = (2048 + 45) / 2;
  for (int64_t i = 0; i < 32; ++i) in.x[static_cast<size_t>(pixel * 32 + i)] = 60.0F + static_cast<float>(i % 16);
  const auto y = run(c, in);
  const auto exact = reference(c, in);
  for (size_t i = 0; i < y.size(); ++i) EXPECT_NEAR(y[i], exact[i], 1e-2 * (1 + std::abs(exact[i])));
}

TEST("a constant group gives its offset") {
  for (const int64_t chunk : {int64_t{0}, kChunk}) {
    const Case c{.shape = {1, 40, 24, 3}, .chunk = chunk};
    Inputs in = make_inputs(c);
    std::fill(in.x.begin(), in.x.end(), 3.25F);
    const auto y = run(c, in);
    for (size_t i = 0; i < y.size(); ++i) EXPECT_NEAR(y[i], in.beta[i % 24], 1e-3);
  }
}

TEST("a sample with NaN spoils its own groups alone") {
  for (const int64_t chunk : {int64_t{0}, kChunk}) {
    const Case c{.shape = {2, 50, 32, 8}, .silu = true, .chunk = chunk};
    Inputs in = make_inputs(c);
    const auto clean = run(c, in);
    in.x[5] = std::numeric_limits<float>::quiet_NaN();  // group 1 of sample 0
    const auto y = run(c, in);
    for (size_t i = 0; i < y.size(); ++i) {
      if (i < 50 * 32 && i % 32 / 4 == 1) {
        EXPECT(std::isnan(y[i]));
      } else {
        EXPECT_EQUAL(y[i], clean[i]);
      }
    }
  }
}
