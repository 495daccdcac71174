#include "check.h"
#include "cuda/convolution_shape.h"
#include "cuda/values.h"

namespace {

using namespace nd::kernels::cuda;

using Shape = ConvolutionShape;
const Shape kShapes[] = {
    {.batch = 2, .height = 8, .width = 8, .channels = 3, .out_channels = 128},
    {.batch = 3, .height = 5, .width = 7, .channels = 1, .out_channels = 32},
    {.batch = 1, .height = 9, .width = 6, .channels = 2, .out_channels = 96, .stride = 2, .padding = 0, .padding_after = 1},
    {.batch = 1, .height = 3, .width = 3, .channels = 1, .out_channels = 64, .kernel = 5, .padding = 2},
    {.batch = 2, .height = 4, .width = 4, .channels = 32, .out_channels = 64, .kernel = 1, .padding = 0},
    {.batch = 1, .height = 1, .width = 1, .channels = 3, .out_channels = 32},
};

/// A call with its memory, and what it must give.
class Case {
 public:
  Case(const Shape& s, Element element, bool with_bias) : element_(element) {
    const int64_t products = s.taps() * s.channels;
    const auto x = values::rounded(element, values::random(s.batch * s.height * s.width * s.channels, 1));
    const auto bias = values::random(s.out_channels, 3);
    auto weight = values::rounded(element, values::random(s.out_channels * kThinProducts, 2));
    for (int64_t i = 0; i < s.out_channels * kThinProducts; ++i) {
      if (i % kThinProducts >= products) weight[static_cast<size_t>(i)] = 0;
    }
    for (int64_t i = 0; i < s.out_pixels() * s.out_channels; ++i) {
      const int64_t out = i % s.out_channels;
      double sum = with_bias ? bias[static_cast<size_t>(out)] : 0, size = std::abs(sum);
      s.each_seen(i / s.out_channels, [&](int64_t tap, int64_t from) {
        for (int64_t channel = 0; channel < s.channels; ++channel) {
          const double product = double{weight[static_cast<size_t>(out * kThinProducts + tap * s.channels + channel)]} *
                                 x[static_cast<size_t>(from * s.channels + channel)];
          sum += product, size += std::abs(product);
        }
      });
      exact_.push_back(sum), size_.push_back(size);
    }
    held_.emplace_back(values::encode(element, x));
    held_.emplace_back(values::encode(element, weight));
    bias_.emplace_back(bias);
    call = {.element = element, .x = held_[0].get(), .weight = held_[1].get(), .channels = s.channels, .extents = s.extents(),
            .bias = with_bias ? bias_[0].get() : nullptr, .y = nullptr};
  }

  std::vector<float> run() {
    const DeviceBuffer<unsigned char> y(exact_.size() * values::size_of(element_));
    call.y = y.get();
    EXPECT(thin_serves(call));
    thin_convolution(call, nullptr);
    EXPECT(y.margins_hold());
    return values::decode(element_, y.values());
  }

  void expect_right() {
    const auto got = run();
    for (size_t i = 0; i < exact_.size(); ++i) {
      EXPECT_NEAR(got[i], exact_[i], 0.5 * values::spacing(element_, exact_[i]) + 1e-6 * size_[i]);
    }
  }

  ThinConvolution call{};

 private:
  Element element_;
  std::vector<double> exact_, size_;  // size: Σ of the addends' magnitudes
  std::vector<DeviceBuffer<unsigned char>> held_;
  std::vector<DeviceBuffer<float>> bias_;
};

TEST("thin convolutions, within the output's rounding") {
  for (const Shape& shape : kShapes) {
    for (const Element element : {Element::f16, Element::bf16}) {
      for (const bool with_bias : {false, true}) Case(shape, element, with_bias).expect_right();
    }
  }
}

TEST("more pixels than the warps have tiles at once") {
  // A warp has two tiles, but for the last block's.
  Case({.batch = 1, .height = 259, .width = 255, .channels = 1, .out_channels = 32, .kernel = 1, .padding = 0}, Element::bf16, true)
      .expect_right();
}

TEST("a pixel reaches no further than its taps do, whatever it holds") {
  // Of 27 products the other five have the weight 0, which NaN and the infinities would get past.
  Case given({.batch = 1, .height = 6, .width = 6, .channels = 3, .out_channels = 32}, Element::f16, false);
  const auto clean = given.run();
  const std::vector<float> nans(3, std::nanf(""));
  const size_t pixel = 3 * 6 + 3;
  device_memory::copy_in(static_cast<unsigned char*>(const_cast<void*>(given.call.x)) + pixel * 6,
                         values::encode(Element::f16, nans).data(), 6);
  const auto spoilt = given.run();
  for (size_t i = 0; i < clean.size(); ++i) {
    const size_t row = i / 32 / 6, column = i / 32 % 6;
    if (row >= 2 && row <= 4 && column >= 2 && column <= 4) {
      EXPECT(std::isnan(spoilt[i]));
    } else {
      EXPECT_EQUAL(spoilt[i], clean[i]);
    }
  }
}

TEST("thin calls that the kernel can't read are not served") {
  const auto serves = [](const auto& change) {
    Case given(kShapes[0], Element::bf16, true);
    given.call.y = const_cast<void*>(given.call.weight);
    change(given.call);
    return thin_serves(given.call);
  };
  const auto shifted = [](const void* p) { return static_cast<const unsigned char*>(p) + 2; };
  EXPECT(serves([](ThinConvolution&) {}));
  EXPECT(!serves([](ThinConvolution& call) { call.element = Element::f32; }));
  EXPECT(!serves([](ThinConvolution& call) { call.channels = 4; }));
  EXPECT(!serves([](ThinConvolution& call) { call.channels = 0; }));
  EXPECT(!serves([](ThinConvolution& call) { call.extents.out_channels = 48; }));
  EXPECT(!serves([](ThinConvolution& call) { call.extents.batch = 0; }));
  EXPECT(!serves([](ThinConvolution& call) { call.extents.batch = int64_t{1} << 26; }));
  // More than is counted in 32 bits: an image, and the rows of a grid.
  EXPECT(!serves([](ThinConvolution& call) { call.extents.height = call.extents.width = 1 << 15; }));
  EXPECT(!serves([](ThinConvolution& call) { call.extents.out_channels = 32 << 16; }));
  EXPECT(!serves([&](ThinConvolution& call) { call.y = const_cast<unsigned char*>(shifted(call.y)); }));
  EXPECT(!serves([&](ThinConvolution& call) { call.weight = shifted(call.weight); }));
  EXPECT(!serves([&](ThinConvolution& call) { call.bias = reinterpret_cast<const float*>(shifted(call.bias)); }));
  Case given(kShapes[0], Element::bf16, true);
  given.call.extents.batch = 0;
  EXPECT_ERROR(shape, "no such call is served", thin_convolution(given.call, nullptr));
}

}  // namespace
