#include "check.h"
#include "cuda/convolution_shape.h"
#include "cuda/values.h"

namespace {

using namespace nd::kernels::cuda;

using Shape = ConvolutionShape;
const Shape kShapes[] = {
    {.batch = 1, .height = 4, .width = 4, .channels = 64, .out_channels = 32},
    {.batch = 2, .height = 5, .width = 3, .channels = 96, .out_channels = 40},
    {.batch = 3, .height = 7, .width = 5, .channels = 32, .out_channels = 16, .stride = 2, .padding = 0, .padding_after = 1},
    {.batch = 1, .height = 8, .width = 6, .channels = 32, .out_channels = 32, .stride = 2},
    {.batch = 2, .height = 3, .width = 4, .channels = 64, .out_channels = 32, .doubles = true},
    {.batch = 2, .height = 4, .width = 5, .channels = 128, .out_channels = 64, .kernel = 1, .padding = 0},
    {.batch = 1, .height = 6, .width = 6, .channels = 32, .out_channels = 8, .past = {64, 0}},
    {.batch = 2, .height = 4, .width = 4, .channels = 64, .out_channels = 32, .past = {32, 96}},
    {.batch = 2, .height = 9, .width = 9, .channels = 64, .out_channels = 8},
    {.batch = 1, .height = 1, .width = 1, .channels = 32, .out_channels = 8, .past = {32, 32}},
};

constexpr Element kHalves[] = {Element::f16, Element::bf16};

struct Extra {
  bool bias, residual;
  float scale;
};
const Extra kExtras[] = {{false, false, 1}, {true, true, 0.70710678F}};

/// A call with its memory, and what it must give.
class Case {
 public:
  Case(const Shape& s, Element element, const Extra& extra, uint64_t seed = 1) : shape_(s), element_(element) {
    const int64_t pixels = s.out_pixels(), taps = s.taps();
    const auto x = draw(s.batch * s.height * s.width * s.channels, seed), weight = draw(s.out_channels * taps * s.channels, 2);
    const auto bias = values::random(s.out_channels, 3);
    const auto residual = draw(pixels * s.out_channels, seed + 3);
    exact_.assign(static_cast<size_t>(pixels * s.out_channels), 0), size_ = exact_;
    for (int64_t row = 0; row < pixels; ++row) {
      s.each_seen(row, [&](int64_t tap, int64_t from) {
        multiply(row, &x[static_cast<size_t>(from * s.channels)], &weight[static_cast<size_t>(tap * s.channels)], s.channels,
                 taps * s.channels);
      });
    }
    hold(0, x, weight, s.channels, taps * s.channels);
    // The terms after the first: columns of one weight, as a convolution of two images side by side has them.
    const int64_t columns = s.past[0] + s.past[1];
    const auto past_weight = draw(s.out_channels * columns, 5);
    for (int i = 0, first = 0; i < 2 && s.past[i] > 0; first += static_cast<int>(s.past[i]), ++i) {
      const auto past = draw(pixels * s.past[i], seed + 6 + static_cast<uint64_t>(i));
      for (int64_t row = 0; row < pixels; ++row) {
        multiply(row, &past[static_cast<size_t>(row * s.past[i])], &past_weight[static_cast<size_t>(first)], s.past[i], columns);
      }
      hold(i + 1, past, past_weight, s.past[i], columns, first);
    }
    for (size_t i = 0; i < exact_.size(); ++i) {
      const float b = extra.bias ? bias[i % static_cast<size_t>(s.out_channels)] : 0, r = extra.residual ? residual[i] : 0;
      exact_[i] = (exact_[i] + b + r) * extra.scale;
      size_[i] += std::abs(b) + std::abs(r);
    }
    bias_.emplace_back(bias);
    held_.emplace_back(values::encode(element, residual));
    call_.element = element;
    call_.extents = s.extents(), call_.doubles = s.doubles;
    call_.bias = extra.bias ? bias_[0].get() : nullptr;
    call_.residual = extra.residual ? held_.back().get() : nullptr;
    call_.scale = extra.scale;
  }

  /// In tiles so small that there are at least so many, if they can be.
  std::vector<float> run(int64_t blocks) {
    const DeviceBuffer<unsigned char> y(exact_.size() * values::size_of(element_));
    call_.y = y.get(), call_.blocks = blocks;
    split_k_convolution(call_, nullptr);
    EXPECT(y.margins_hold());
    return values::decode(element_, y.values());
  }

  SplitKConvolution& call() { return call_; }

  void expect(const std::vector<float>& got) const {
    for (size_t i = 0; i < exact_.size(); ++i) {
      EXPECT_NEAR(got[i], exact_[i], 0.5 * values::spacing(element_, exact_[i]) + 1e-6 * size_[i]);
    }
  }

 private:
  std::vector<float> draw(int64_t count, uint64_t seed) const {
    return values::rounded(element_, values::random(count, seed));
  }

  /// exact += the products of a pixel with every output's weights, which lie `stride` apart.
  void multiply(int64_t row, const float* x, const float* weight, int64_t channels, int64_t stride) {
    for (int64_t out = 0; out < shape_.out_channels; ++out) {
      const auto at = static_cast<size_t>(row * shape_.out_channels + out);
      for (int64_t c = 0; c < channels; ++c) {
        const double product = double{x[c]} * weight[out * stride + c];
        exact_[at] += product, size_[at] += std::abs(product);
      }
    }
  }

  void hold(int term, const std::vector<float>& x, const std::vector<float>& weight, int64_t channels, int64_t stride,
            int64_t first = 0) {
    held_.emplace_back(values::encode(element_, x));
    const void* const image = held_.back().get();
    held_.emplace_back(values::encode(element_, weight));
    call_.terms[term] = {image, held_.back().get() + static_cast<size_t>(first) * values::size_of(element_), channels, stride};
  }

  Shape shape_;
  Element element_;
  std::vector<double> exact_, size_;  // size: Σ of the addends' magnitudes
  std::vector<DeviceBuffer<unsigned char>> held_;
  std::vector<DeviceBuffer<float>> bias_;
  SplitKConvolution call_{};
};

constexpr int64_t kSmallestTiles = 1'000'000;

TEST("split-k convolutions in tiles of every size, within the output's rounding and with the same bits") {
  for (const Shape& shape : kShapes) {
    for (const Element element : kHalves) {
      for (const Extra& extra : kExtras) {
        Case given(shape, element, extra);
        EXPECT(split_k_serves(given.call()));
        const auto smallest = given.run(kSmallestTiles);
        given.expect(smallest);
        for (const int64_t blocks : {1, 2, 4, 8}) EXPECT(values::same(given.run(blocks), smallest));
      }
    }
  }
}

TEST("a sample's bits do not depend on the batch") {
  const Shape one{.batch = 1, .height = 5, .width = 4, .channels = 64, .out_channels = 32, .past = {32, 0}};
  Shape three = one;
  three.batch = 3;
  Case alone(one, Element::bf16, kExtras[1]), together(three, Element::bf16, kExtras[1]);
  const auto expected = alone.run(1);
  auto got = together.run(1);
  got.resize(expected.size());
  EXPECT(values::same(got, expected));
}

TEST("calls that the kernel can't read are not served") {
  const Shape shape{.batch = 1, .height = 4, .width = 4, .channels = 64, .out_channels = 32, .past = {32, 0}};
  const auto serves = [&](const auto& change) {
    Case given(shape, Element::bf16, kExtras[1]);
    given.call().y = const_cast<void*>(given.call().residual);
    change(given.call());
    return split_k_serves(given.call());
  };
  const auto shifted = [](const void* p) { return static_cast<const unsigned char*>(p) + 2; };
  EXPECT(serves([](SplitKConvolution&) {}));
  EXPECT(!serves([](SplitKConvolution& call) { call.element = Element::f32; }));
  EXPECT(!serves([](SplitKConvolution& call) { call.terms[0].channels = 48; }));
  EXPECT(!serves([](SplitKConvolution& call) { call.terms[1].channels = 16; }));
  EXPECT(!serves([](SplitKConvolution& call) { call.terms[0] = {}; }));
  EXPECT(!serves([](SplitKConvolution& call) { call.terms[0].channels = 0; }));
  EXPECT(!serves([](SplitKConvolution& call) { call.terms[1].weight_stride = 36; }));
  EXPECT(!serves([](SplitKConvolution& call) { call.extents.out_channels = 12; }));
  EXPECT(!serves([](SplitKConvolution& call) { call.extents.batch = 0; }));
  EXPECT(!serves([](SplitKConvolution& call) { call.extents.batch = int64_t{1} << 22; }));
  // More than is counted in 32 bits: an image, the weights, y, and the rows of a grid.
  EXPECT(!serves([](SplitKConvolution& call) { call.extents.height = call.extents.width = 1 << 13; }));
  EXPECT(!serves([](SplitKConvolution& call) { call.terms[1].weight_stride = 1 << 26; }));
  EXPECT(!serves([](SplitKConvolution& call) {
    call.extents.batch = 1 << 17, call.extents.height = 1, call.extents.out_channels = 1 << 10;
  }));
  EXPECT(!serves([](SplitKConvolution& call) {
    call.extents.out_channels = 8 << 16, call.terms[0].weight_stride = call.terms[1].weight_stride = 32;
  }));
  // The images after the first are of the output's size.
  EXPECT(serves([](SplitKConvolution& call) { call.extents.height = call.extents.width = 1 << 12, call.terms[1].channels = 128; }));
  EXPECT(!serves([&](SplitKConvolution& call) { call.terms[0].x = shifted(call.terms[0].x); }));
  EXPECT(!serves([&](SplitKConvolution& call) { call.terms[1].weight = shifted(call.terms[1].weight); }));
  EXPECT(!serves([&](SplitKConvolution& call) { call.residual = shifted(call.residual); }));
  EXPECT(!serves([&](SplitKConvolution& call) { call.y = const_cast<unsigned char*>(shifted(call.y)); }));
  EXPECT(!serves([&](SplitKConvolution& call) { call.bias = reinterpret_cast<const float*>(shifted(call.bias)); }));
  Case given(shape, Element::bf16, kExtras[1]);
  given.call().extents.batch = 0;
  EXPECT_ERROR(shape, "no such call is served", split_k_convolution(given.call(), nullptr));
}

}  // namespace
