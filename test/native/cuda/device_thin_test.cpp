#include "cuda/plain_convolution_case.h"

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

const PlainKernel kThin{thin_serves, thin_convolution, kThinProducts};

TEST("thin convolutions, within the output's rounding") {
  for (const Shape& shape : kShapes) {
    for (const Element element : {Element::f16, Element::bf16}) {
      for (const bool with_bias : {false, true}) PlainCase(kThin, shape, element, with_bias).expect_right();
    }
  }
}

TEST("more pixels than the warps have tiles at once") {
  // A warp has two tiles, but for the last block's.
  const Shape shape{.batch = 1, .height = 259, .width = 255, .channels = 1, .out_channels = 32, .kernel = 1, .padding = 0};
  PlainCase(kThin, shape, Element::bf16, true).expect_right();
}

TEST("a pixel reaches no further than its taps do, whatever it holds") {
  // Of 27 products the other five have the weight 0, which NaN and the infinities would get past.
  PlainCase given(kThin, {.batch = 1, .height = 6, .width = 6, .channels = 3, .out_channels = 32}, Element::f16, false);
  given.expect_local(3, 3);
}

TEST("thin calls that the kernel can't read are not served") {
  PlainCase given(kThin, kShapes[0], Element::bf16, true);
  const auto serves = [&](const auto& change) { return given.serves(change); };
  EXPECT(serves([](PlainConvolution&) {}));
  EXPECT(!serves([](PlainConvolution& call) { call.element = Element::f32; }));
  EXPECT(!serves([](PlainConvolution& call) { call.channels = 4; }));
  EXPECT(!serves([](PlainConvolution& call) { call.channels = 0; }));
  EXPECT(!serves([](PlainConvolution& call) { call.extents.out_channels = 48; }));
  EXPECT(!serves([](PlainConvolution& call) { call.extents.batch = 0; }));
  EXPECT(!serves([](PlainConvolution& call) { call.extents.batch = int64_t{1} << 26; }));
  // More than is counted in 32 bits: an image, and the rows of a grid.
  EXPECT(!serves([](PlainConvolution& call) { call.extents.height = call.extents.width = 1 << 15; }));
  EXPECT(!serves([](PlainConvolution& call) { call.extents.out_channels = 32 << 16; }));
  EXPECT(!serves([&](PlainConvolution& call) { call.y = const_cast<unsigned char*>(shifted(call.y)); }));
  EXPECT(!serves([&](PlainConvolution& call) { call.weight = shifted(call.weight); }));
  EXPECT(!serves([&](PlainConvolution& call) { call.bias = reinterpret_cast<const float*>(shifted(call.bias)); }));
  given.call.extents.batch = 0;
  EXPECT_ERROR(shape, "no such call is served", thin_convolution(given.call, nullptr));
}

}  // namespace
