#include "core/sampling/pixels.h"

#include <ATen/ATen.h>

#include <cmath>
#include <limits>

#include "check.h"

using namespace nd;

namespace {

at::Tensor unit_in_torch(const at::Tensor& samples) {
  return (samples / 2 + 0.5).clamp(0, 1).permute({0, 2, 3, 1}).contiguous();
}

}  // namespace

TEST("pixels are torch's, bit for bit, of any number of channels and across threads' parts") {
  for (const int64_t channels : {1, 3, 4}) {
    for (const auto& [batch, side] : {std::pair<int64_t, int64_t>{1, 7}, {5, 64}, {2, 130}}) {
      const auto samples = at::randn({batch, channels, side, side + 1});
      const auto unit = unit_in_torch(samples);
      EXPECT(at::equal(to_pixels(samples, PixelFormat::unit_float), unit));
      EXPECT(at::equal(to_pixels(samples, PixelFormat::uint8), (unit * 255).round().to(at::kByte)));
    }
  }
}

TEST("every byte's level and the middle between two levels round as torch rounds, half to even") {
  const auto levels = at::arange(-2, 514, at::kFloat) / 2;
  const auto samples = (levels / 255 * 2 - 1).reshape({1, 1, 4, 129});
  EXPECT(at::equal(to_pixels(samples, PixelFormat::uint8), (unit_in_torch(samples) * 255).round().to(at::kByte)));
}

TEST("what is not finite: NaN stays in floats and is black in bytes, infinities are black and white") {
  const float infinity = std::numeric_limits<float>::infinity();
  const auto samples = at::tensor({std::nanf("255"), infinity, -infinity, 0.0F}).view({1, 1, 2, 2});  // a NaN with bits of its own
  const auto unit = to_pixels(samples, PixelFormat::unit_float).flatten();
  EXPECT(at::isnan(unit[0]).item<bool>());
  EXPECT(at::equal(unit.slice(0, 1), at::tensor({1.0F, 0.0F, 0.5F})));
  EXPECT(at::equal(to_pixels(samples, PixelFormat::uint8).flatten(), at::tensor({0, 255, 0, 128}, at::kByte)));
}

TEST("samples of other layouts and dtypes") {
  const auto samples = at::randn({2, 3, 5, 6}).contiguous(at::MemoryFormat::ChannelsLast);
  EXPECT(at::equal(to_pixels(samples, PixelFormat::unit_float), unit_in_torch(samples)));
  EXPECT(at::equal(to_pixels(samples.to(at::kDouble), PixelFormat::uint8), to_pixels(samples, PixelFormat::uint8)));
}
