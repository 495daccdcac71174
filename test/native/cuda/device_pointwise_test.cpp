#include "check.h"
#include "cuda/values.h"

namespace {

using namespace nd::kernels::cuda;

struct Shape {
  int64_t pixels, channels;
};
const Shape kShapes[] = {{1, 1}, {10, 3}, {21, 8}, {32, 128}, {33, 100}, {256, 32}, {600, 20}};

}  // namespace

TEST("bias, residual and scale, within the output's rounding") {
  for (const Shape& s : kShapes) {
    for (const Element element : values::kElements) {
      for (int options = 0; options < 32; ++options) {
        const bool biased = options & 1, residual = options & 2, in_place = options & 4;
        const int64_t numel = s.pixels * s.channels;
        // Unaligned: none, conv, the residual or y.
        const auto offset = [&](int which) { return options / 8 == which ? values::size_of(element) : 0; };
        const auto conv = values::rounded(element, values::random(numel, 1));
        const auto more = values::rounded(element, values::random(numel, 2));
        const auto bias = values::random(s.channels, 3);
        const float scale = 0.70710678F;
        const DeviceBuffer<unsigned char> conv_bytes(values::encode(element, conv), offset(1));
        const DeviceBuffer<unsigned char> more_bytes(values::encode(element, more), offset(2));
        const DeviceBuffer<unsigned char> apart(conv.size() * values::size_of(element), offset(3));
        const DeviceBuffer<float> device_bias(bias, 1);
        const DeviceBuffer<unsigned char>& y = in_place ? conv_bytes : apart;
        add_bias_residual(element, conv_bytes.get(), biased ? device_bias.get() : nullptr,
                          residual ? more_bytes.get() : nullptr, scale, y.get(), s.pixels, s.channels, nullptr);
        const auto got = values::decode(element, y.values());
        for (int64_t i = 0; i < numel; ++i) {
          const auto at = static_cast<size_t>(i);
          const double b = biased ? bias[static_cast<size_t>(i % s.channels)] : 0.0;
          const double r = residual ? more[at] : 0.0, exact = (conv[at] + b + r) * double{scale};
          const double size = std::abs(conv[at]) + std::abs(b) + std::abs(r);
          EXPECT_NEAR(got[at], exact, 0.5 * values::spacing(element, exact) + 3e-7 * size);
        }
        EXPECT(y.margins_hold());
      }
    }
  }
}

TEST("rows are gathered, NaN where there is none") {
  for (const int64_t width : {1, 3, 4, 128, 130}) {
    const int64_t table_rows = 7;
    const auto table = values::random(table_rows * width, 1);
    const std::vector<int64_t> rows = {6, 0, 0, -1, 3, 7, int64_t{1} << 40, 5, -(int64_t{1} << 40)};
    const DeviceBuffer<float> device_table(table), to(rows.size() * static_cast<size_t>(width));
    const DeviceBuffer<int64_t> device_rows(rows);
    const auto count = static_cast<int64_t>(rows.size());
    gather_rows(device_table.get(), width, device_rows.get(), count, table_rows, to.get(), nullptr);
    std::vector<float> expected;
    for (const int64_t row : rows) {
      for (int64_t i = 0; i < width; ++i) {
        expected.push_back(row >= 0 && row < table_rows ? table[static_cast<size_t>(row * width + i)] : std::nanf(""));
      }
    }
    EXPECT(values::same(to.values(), expected));
    EXPECT(to.margins_hold());
  }
}

TEST("pixels are doubled, or get zeros on the right and below, whatever their bytes") {
  // 16-byte words, 4-byte and 2-byte ones; wider than a block.
  const PixelCall calls[] = {{2, 3, 5, 32}, {1, 1, 1, 2}, {3, 2, 4, 6}, {1, 4, 3, 20}, {2, 5, 7, 1040}, {1, 2, 300, 16}};
  struct Offsets {
    size_t x, y;
  };
  for (const PixelCall& call : calls) {
    for (const Offsets& offset : {Offsets{0, 0}, Offsets{4, 0}, Offsets{2, 0}, Offsets{0, 4}, Offsets{0, 2}}) {  // unaligned
      const auto floats = values::random((call.batch * call.height * call.width * call.pixel_bytes + 3) / 4, 1);
      std::vector<unsigned char> x(reinterpret_cast<const unsigned char*>(floats.data()),
                                   reinterpret_cast<const unsigned char*>(floats.data() + floats.size()));
      x.resize(static_cast<size_t>(call.batch * call.height * call.width * call.pixel_bytes));
      const DeviceBuffer<unsigned char> device_x(x, offset.x);
      const auto check = [&](int64_t height, int64_t width, const auto& launch, const auto& source) {
        const DeviceBuffer<unsigned char> y(static_cast<size_t>(call.batch * height * width * call.pixel_bytes), offset.y);
        launch(call, device_x.get(), y.get(), nullptr);
        std::vector<unsigned char> expected;
        for (int64_t i = 0; i < call.batch * height * width; ++i) {
          const int64_t image = i / width / height, from = source(i / width % height, i % width);
          for (int64_t byte = 0; byte < call.pixel_bytes; ++byte) {
            const int64_t pixel = image * call.height * call.width + from;
            expected.push_back(from < 0 ? 0 : x[static_cast<size_t>(pixel * call.pixel_bytes + byte)]);
          }
        }
        EXPECT(y.values() == expected);
        EXPECT(y.margins_hold());
      };
      check(2 * call.height, 2 * call.width, upsample_nearest,
            [&](int64_t row, int64_t column) { return row / 2 * call.width + column / 2; });
      check(call.height + 1, call.width + 1, pad_right_below, [&](int64_t row, int64_t column) {
        return row < call.height && column < call.width ? row * call.width + column : int64_t{-1};
      });
    }
  }
}

TEST("the pixels of four images become one's that is twice as wide and high") {
  for (const PixelCall& call : {PixelCall{1, 1, 1, 2}, PixelCall{3, 2, 5, 20}, PixelCall{2, 4, 3, 48}, PixelCall{1, 2, 40, 1040}}) {
    const int64_t numel = 4 * call.batch * call.height * call.width * call.pixel_bytes / 2;
    const auto z = values::encode(Element::f16, values::random(numel, 1));
    for (const size_t unaligned : {0, 2, 4}) {
      const DeviceBuffer<unsigned char> device_z(z, unaligned), y(z.size());
      interleave_phases(call, device_z.get(), y.get(), nullptr);
      std::vector<unsigned char> expected;
      for (int64_t i = 0; i < 4 * call.batch * call.height * call.width; ++i) {
        const int64_t column = i % (2 * call.width), row_of_all = i / (2 * call.width), row = row_of_all % (2 * call.height);
        const int64_t phase = row % 2 * 2 + column % 2, image = phase * call.batch + row_of_all / (2 * call.height);
        const int64_t pixel = (image * call.height + row / 2) * call.width + column / 2;
        for (int64_t byte = 0; byte < call.pixel_bytes; ++byte) {
          expected.push_back(z[static_cast<size_t>(pixel * call.pixel_bytes + byte)]);
        }
      }
      EXPECT(y.values() == expected);
      EXPECT(y.margins_hold());
    }
  }
}

TEST("phases become the pixels of an image twice as wide and high, with their bias") {
  struct Size {
    int64_t batch, height, width, channels;
  };
  for (const Size& s : {Size{1, 1, 1, 1}, Size{2, 3, 2, 8}, Size{1, 2, 5, 20}, Size{2, 4, 3, 32}}) {
    for (const Element element : values::kElements) {
      for (const int unaligned : {0, 1, 2}) {  // none, z or y
        const size_t size = values::size_of(element);
        const int64_t numel = s.batch * (s.height + 1) * (s.width + 1) * 4 * s.channels;
        const auto z = values::rounded(element, values::random(numel, 1)), bias = values::random(s.channels, 2);
        const DeviceBuffer<unsigned char> device_z(values::encode(element, z), unaligned == 1 ? size : 0);
        const DeviceBuffer<float> device_bias(bias);
        const DeviceBuffer<unsigned char> y(static_cast<size_t>(4 * s.batch * s.height * s.width * s.channels) * size,
                                            unaligned == 2 ? size : 0);
        join_phases(element, device_z.get(), device_bias.get(), y.get(), s.batch, s.height, s.width, s.channels, nullptr);
        const auto got = values::decode(element, y.values());
        size_t at = 0;
        for (int64_t image = 0; image < s.batch; ++image) {
          for (int64_t row = 0; row < 2 * s.height; ++row) {
            for (int64_t column = 0; column < 2 * s.width; ++column) {
              for (int64_t c = 0; c < s.channels; ++c, ++at) {
                const int64_t a = row % 2, b = column % 2, i = row / 2 + a, j = column / 2 + b;
                const int64_t pixel = (image * (s.height + 1) + i) * (s.width + 1) + j;
                const double exact = double{z[static_cast<size_t>((pixel * 4 + 2 * a + b) * s.channels + c)]} +
                                     bias[static_cast<size_t>(c)];
                EXPECT_NEAR(got[at], exact, 0.5 * values::spacing(element, exact) + 3e-7);
              }
            }
          }
        }
        EXPECT(y.margins_hold());
      }
    }
  }
}

TEST("more rows than a grid has") {
  constexpr size_t count = 66'000;
  const auto x = values::random(count, 1);
  const DeviceBuffer<float> device_x(x), zero(std::vector<float>{0}), four(4 * count), one(count);
  std::vector<float> doubled(4 * count), padded(4 * count), joined, gathered(count);
  std::vector<int64_t> rows(count);
  for (size_t i = 0; i < count; ++i) {
    for (size_t k = 0; k < 4; ++k) doubled[4 * i + k] = x[i];
    padded[4 * i] = x[i];
    rows[i] = static_cast<int64_t>(i * 7 % count);
    gathered[i] = x[i * 7 % count];
  }
  upsample_nearest({count, 1, 1, 4}, device_x.get(), four.get(), nullptr);
  EXPECT(values::same(four.values(), doubled));
  pad_right_below({count, 1, 1, 4}, device_x.get(), four.get(), nullptr);
  EXPECT(values::same(four.values(), padded));
  const DeviceBuffer<int64_t> device_rows(rows);
  gather_rows(device_x.get(), 1, device_rows.get(), count, count, one.get(), nullptr);
  EXPECT(values::same(one.values(), gathered));
  // Of images of one pixel, whose z is [2, 2, 4].
  constexpr size_t images = count / 2 + 1;
  const auto z = values::random(16 * images, 2);
  const DeviceBuffer<float> device_z(z), pixels(4 * images);
  for (size_t i = 0; i < images; ++i) {
    for (size_t phase = 0; phase < 4; ++phase) joined.push_back(z[16 * i + 4 * phase + phase]);
  }
  join_phases(Element::f32, device_z.get(), zero.get(), pixels.get(), images, 1, 1, 1, nullptr);
  EXPECT(values::same(pixels.values(), joined));
  interleave_phases({images, 1, 1, 4}, device_z.get(), pixels.get(), nullptr);
  for (size_t i = 0; i < 4 * images; ++i) joined[i] = z[i % 4 * images + i / 4];
  EXPECT(values::same(pixels.values(), joined));
}

TEST("nothing to add and nothing to gather launch nothing") {
  add_bias_residual(Element::f32, nullptr, nullptr, nullptr, 1, nullptr, 0, 4, nullptr);
  gather_rows(nullptr, 4, nullptr, 0, 4, nullptr, nullptr);
  gather_rows(nullptr, 0, nullptr, 4, 4, nullptr, nullptr);
  for (const PixelCall& call : {PixelCall{0, 4, 4, 8}, PixelCall{1, 0, 4, 8}, PixelCall{1, 4, 0, 8}, PixelCall{1, 4, 4, 0}}) {
    upsample_nearest(call, nullptr, nullptr, nullptr);
    pad_right_below(call, nullptr, nullptr, nullptr);
    interleave_phases(call, nullptr, nullptr, nullptr);
  }
  join_phases(Element::f32, nullptr, nullptr, nullptr, 1, 0, 4, 4, nullptr);
}
