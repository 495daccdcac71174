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

  void expect_right() {
    const DeviceBuffer<unsigned char> y(exact_.size() * values::size_of(element_));
    call.y = y.get();
    EXPECT(thin_serves(call));
    thin_convolution(call, nullptr);
    EXPECT(y.margins_hold());
    const auto got = values::decode(element_, y.values());
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
  Case({.batch = 1, .height = 200, .width = 180, .channels = 1, .out_channels = 32}, Element::bf16, true).expect_right();
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
  EXPECT(!serves([](ThinConvolution& call) { call.extents.out_channels = 48; }));
  EXPECT(!serves([](ThinConvolution& call) { call.extents.batch = 0; }));
  EXPECT(!serves([](ThinConvolution& call) { call.extents.batch = int64_t{1} << 26; }));
  EXPECT(!serves([&](ThinConvolution& call) { call.weight = shifted(call.weight); }));
  EXPECT(!serves([&](ThinConvolution& call) { call.bias = reinterpret_cast<const float*>(shifted(call.bias)); }));
}

}  // namespace
