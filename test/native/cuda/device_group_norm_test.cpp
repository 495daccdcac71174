#include <limits>

#include "check.h"
#include "cuda/values.h"

namespace {

using namespace nd::kernels::cuda;
using nd::kernels::GroupNormShape;
using nd::kernels::NormActivation;

struct Case {
  GroupNormShape shape;
  Element element = Element::f32;
  bool affine = true, modulated = false, silu = false, added = false;
  int64_t add_stride = -1;  // −1: as long as a row is
  int64_t chunk = 0;  // pixels of a block at most
  float mean = 0.5F;
  bool in_place = false;
  int64_t first_channels = 0;  // the others in a second tensor; 0: all in one
};

struct Inputs {
  std::vector<float> x, gamma, beta, scale, shift, add;
};

int64_t add_stride(const Case& c) { return c.add_stride < 0 ? c.shape.channels : c.add_stride; }

Inputs make_inputs(const Case& c) {
  const GroupNormShape& s = c.shape;
  Inputs in;
  in.x = values::rounded(c.element, values::random(s.batch * s.pixels * s.channels, 1, c.mean, 1.5F));
  in.gamma = values::random(s.channels, 2);
  in.beta = values::random(s.channels, 3);
  in.scale = values::random(s.batch * s.channels, 4, 0, 0.5F);
  in.shift = values::random(s.batch * s.channels, 5);
  in.add = values::random(s.batch * s.channels, 6);
  return in;
}

constexpr float kEps = 1e-6F;

/// Channels [first, end) of every pixel.
std::vector<float> channels_of(const Case& c, const Inputs& in, int64_t first, int64_t end) {
  std::vector<float> part;
  for (int64_t pixel = 0; pixel < c.shape.batch * c.shape.pixels; ++pixel) {
    const auto row = in.x.begin() + pixel * c.shape.channels;
    part.insert(part.end(), row + first, row + end);
  }
  return part;
}

std::vector<float> run(const Case& c, const Inputs& in) {
  const int64_t first_channels = c.first_channels == 0 ? c.shape.channels : c.first_channels;
  const DeviceBuffer<unsigned char> x(values::encode(c.element, channels_of(c, in, 0, first_channels)));
  const DeviceBuffer<unsigned char> second(values::encode(c.element, channels_of(c, in, first_channels, c.shape.channels)));
  const DeviceBuffer<unsigned char> apart(in.x.size() * values::size_of(c.element));
  const DeviceBuffer<unsigned char>& y = c.in_place ? x : apart;
  const DeviceBuffer<float> gamma(in.gamma), beta(in.beta), scale(in.scale), shift(in.shift), add(in.add);
  const GroupNormCall call{.shape = c.shape,
                           .parameters = {c.affine ? gamma.get() : nullptr, c.affine ? beta.get() : nullptr,
                                          c.modulated ? scale.get() : nullptr, c.modulated ? shift.get() : nullptr,
                                          c.shape.channels, kEps, c.silu ? NormActivation::silu : NormActivation::none},
                           .element = c.element,
                           .add = c.added ? add.get() : nullptr,
                           .add_stride = add_stride(c),
                           .second = c.first_channels == 0 ? nullptr : second.get(),
                           .first_channels = c.first_channels,
                           .chunk_pixels = c.chunk};
  const DeviceBuffer<unsigned char> workspace(group_norm_workspace(call, x.get(), y.get()));
  group_norm(call, x.get(), y.get(), workspace.get(), nullptr);
  EXPECT(y.margins_hold() && workspace.margins_hold());
  return values::decode(c.element, y.values());
}

std::vector<double> reference(const Case& c, const Inputs& in) {
  const GroupNormShape& s = c.shape;
  const int64_t size = s.channels / s.groups;
  std::vector<double> y(in.x.size());
  for (int64_t b = 0; b < s.batch; ++b) {
    for (int64_t group = 0; group < s.groups; ++group) {
      const auto each = [&](const auto& visit) {
        for (int64_t pixel = 0; pixel < s.pixels; ++pixel) {
          for (int64_t channel = group * size; channel < (group + 1) * size; ++channel) {
            const auto at = static_cast<size_t>((b * s.pixels + pixel) * s.channels + channel);
            const double a = c.added ? in.add[static_cast<size_t>(b * add_stride(c) + channel)] : 0.0;
            visit(at, static_cast<size_t>(channel), in.x[at] + a);
          }
        }
      };
      double sum = 0, squares = 0;
      const double count = static_cast<double>(s.pixels * size);
      each([&](size_t, size_t, double v) { sum += v; });
      const double mean = sum / count;
      each([&](size_t, size_t, double v) { squares += (v - mean) * (v - mean); });
      each([&](size_t at, size_t channel, double v) {
        double out = (v - mean) / std::sqrt(squares / count + kEps);
        if (c.affine) out = out * in.gamma[channel] + in.beta[channel];
        const size_t row = static_cast<size_t>(b * s.channels) + channel;
        if (c.modulated) out = out * (1.0 + in.scale[row]) + in.shift[row];
        y[at] = c.silu ? out / (1.0 + std::exp(-out)) : out;
      });
    }
  }
  return y;
}

/// Half of the output's last place, and `tolerance` of 1 + |y|.
void expect_near(const Case& c, const std::vector<float>& y, const std::vector<double>& exact, double tolerance) {
  for (size_t i = 0; i < y.size(); ++i) {
    EXPECT_NEAR(y[i], exact[i], 0.51 * values::spacing(c.element, exact[i]) + tolerance * (1.0 + std::abs(exact[i])));
  }
}

/// Halves round at 5e-4 of the result.
double tolerance_of(Element element) { return element == Element::f32 ? 2e-6 : 1e-5; }

const std::vector<GroupNormShape> kShapes = {
    {2, 64, 128, 32}, {1, 16, 256, 32}, {1, 16, 512, 32}, {2, 25, 384, 32}, {3, 1, 96, 32},
    {2, 35, 6, 2},    {2, 17, 7, 1},
    {1, 9, 33, 11},   {2, 300, 20, 4},  {1, 999, 3, 3},   {2, 77, 100, 4},  {1, 30, 48, 48},
    {1, 20, 264, 1},  {1, 3, 2064, 1},
    {1, 1500, 32, 8},
    {1, 1000, 48, 4},  // many pixels a thread
};

/// Makes more chunks of a large image than lanes of a group merge them, and none of a small one.
constexpr int64_t kChunk = 7;

}  // namespace

TEST("equals group_norm in double for every shape, element and option") {
  for (const GroupNormShape& shape : kShapes) {
    for (const Element element : values::kElements) {
      for (const int options : {0, 1, 5, 11, 14, 15}) {
        const Case c{.shape = shape, .element = element, .affine = (options & 1) != 0, .modulated = (options & 2) != 0,
                     .silu = (options & 4) != 0, .added = (options & 8) != 0, .in_place = options == 5};
        const Inputs in = make_inputs(c);
        expect_near(c, run(c, in), reference(c, in), tolerance_of(c.element));
      }
    }
  }
}

TEST("in chunks too, where a block does not hold an image") {
  for (const GroupNormShape& shape : kShapes) {
    for (const Element element : values::kElements) {
      const Case c{.shape = shape, .element = element, .silu = true, .added = true, .chunk = kChunk,
                   .in_place = shape.batch == 1};
      const Inputs in = make_inputs(c);
      expect_near(c, run(c, in), reference(c, in), tolerance_of(c.element));
    }
  }
}

TEST("of two tensors side by side: what their concatenation has") {
  struct Split {
    GroupNormShape shape;
    int64_t first_channels;
  };
  // Groups on both sides of the seam, vectors of one side alone; and a seam within what would be a vector.
  const Split splits[] = {{{2, 40, 384, 32}, 256}, {{2, 16, 512, 32}, 256}, {{1, 300, 96, 4}, 40}, {{2, 9, 24, 3}, 5}};
  for (const Split& split : splits) {
    for (const Element element : values::kElements) {
      for (const int64_t chunk : {int64_t{0}, kChunk}) {
        Case c{.shape = split.shape, .element = element, .silu = true, .added = true, .chunk = chunk};
        const Inputs in = make_inputs(c);
        const auto together = run(c, in);
        c.first_channels = split.first_channels;
        const auto apart = run(c, in);
        // Where the seam allows no vectors, the sums come in another order.
        if (split.first_channels % 8 == 0) EXPECT(values::same(apart, together));
        expect_near(c, apart, reference(c, in), tolerance_of(c.element));
      }
    }
  }
}

TEST("an image is cut where a block does not hold it, or where it is told to") {
  GroupNormCall call{.shape = {2, 2048, 128, 32}, .parameters = {}, .element = Element::bf16};
  EXPECT_EQUAL(group_norm_workspace(call, nullptr, nullptr), 0U);
  call.chunk_pixels = 1000;
  EXPECT_EQUAL(group_norm_workspace(call, nullptr, nullptr), 3U * 2 * 32 * 8);
  call.chunk_pixels = 0;
  call.shape.pixels = 65536;
  EXPECT(group_norm_workspace(call, nullptr, nullptr) >= 2 * 2 * 32 * 8U);
  call = {.shape = {1, 2, 8208, 1}, .parameters = {}, .element = Element::f32};
  EXPECT_ERROR(shape, "holds no pixel of a group of 8208", group_norm(call, &call, &call, &call, nullptr));
  call.shape.groups = 5;
  EXPECT_ERROR(shape, "8208 channels in 5 groups", group_norm_workspace(call, nullptr, nullptr));
}

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

TEST("one row to add serves a batch") {
  const Case c{.shape = {3, 20, 32, 8}, .added = true, .add_stride = 0};
  const Inputs in = make_inputs(c);
  expect_near(c, run(c, in), reference(c, in), tolerance_of(c.element));
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

TEST("a sample's bits do not depend on its neighbours") {
  for (const int64_t chunk : {int64_t{0}, kChunk}) {
    const Case c{.shape = {4, 70, 96, 24}, .element = Element::bf16, .modulated = true, .silu = true, .added = true,
                 .chunk = chunk};
    const Inputs in = make_inputs(c);
    const auto whole = run(c, in);
    for (int64_t b = 0; b < c.shape.batch; ++b) {
      const auto part = [&](const std::vector<float>& v) {
        const auto size = static_cast<int64_t>(v.size()) / c.shape.batch;
        return std::vector<float>(v.begin() + b * size, v.begin() + (b + 1) * size);
      };
      Case one = c;
      one.shape.batch = 1;
      const Inputs alone{part(in.x), in.gamma, in.beta, part(in.scale), part(in.shift), part(in.add)};
      EXPECT(values::same(run(one, alone), part(whole)));
    }
  }
}

TEST("an empty batch launches nothing") {
  const GroupNormCall call{.shape = {0, 4, 8, 2}, .parameters = {}, .element = Element::f32};
  EXPECT_EQUAL(group_norm_workspace(call, nullptr, nullptr), 0U);
  group_norm(call, nullptr, nullptr, nullptr, nullptr);
}
