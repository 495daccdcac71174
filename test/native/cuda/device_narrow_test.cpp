#include "cuda/plain_convolution_case.h"

namespace {

using namespace nd::kernels::cuda;

using Shape = ConvolutionShape;
Shape narrow(int64_t batch, int64_t height, int64_t width, int64_t channels) {
  return {.batch = batch, .height = height, .width = width, .channels = channels, .out_channels = kNarrowOutputs};
}
// Groups of two, of four, and several of four, whole and not.
const Shape kShapes[] = {narrow(1, 1, 1, 32),   narrow(2, 5, 7, 32),  narrow(3, 9, 16, 64), narrow(1, 3, 17, 32),
                         narrow(1, 8, 32, 128), narrow(1, 9, 33, 96), narrow(3, 9, 70, 32)};

const PlainKernel kNarrow{narrow_serves, narrow_convolution};

TEST("convolutions to eight channels, within the output's rounding") {
  for (const Shape& shape : kShapes) {
    for (const Element element : {Element::f16, Element::bf16}) {
      for (const bool with_bias : {false, true}) PlainCase(kNarrow, shape, element, with_bias).expect_right();
    }
  }
}

TEST("the bits do not depend on the strips, nor on the batch, which makes them longer") {
  for (const Shape& shape : kShapes) {
    PlainCase given(kNarrow, shape, Element::bf16, true);
    given.call.strip_rows = 1;
    const auto bits = given.run();
    for (const int64_t rows : {2, 3, 4, 8, 0}) {
      given.call.strip_rows = rows;
      EXPECT(values::same(given.run(), bits));
    }
  }
  const auto alone = PlainCase(kNarrow, narrow(1, 9, 5, 64), Element::bf16, true).run();
  const auto together = PlainCase(kNarrow, narrow(64, 9, 5, 64), Element::bf16, true).run();
  for (size_t i = 0; i < alone.size(); ++i) EXPECT_EQUAL(together[i], alone[i]);
}

TEST("pixels at the edges of strips and of the image reach the outputs around them alone") {
  PlainCase(kNarrow, narrow(32, 9, 35, 32), Element::f16, true).expect_local(8, 31);
  PlainCase(kNarrow, narrow(1, 9, 35, 32), Element::f16, true).expect_local(0, 0);
  PlainCase(kNarrow, narrow(1, 9, 35, 32), Element::f16, true).expect_local(8, 34);
}

TEST("narrow calls that the kernel can't read are not served") {
  PlainCase given(kNarrow, narrow(2, 5, 7, 32), Element::bf16, true);
  const auto serves = [&](const auto& change) { return given.serves(change); };
  EXPECT(serves([](PlainConvolution&) {}));
  EXPECT(serves([](PlainConvolution& call) { call.channels = 608; }));
  EXPECT(!serves([](PlainConvolution& call) { call.channels = 640; }));  // more weights than a block holds
  EXPECT(!serves([](PlainConvolution& call) { call.channels = 48; }));
  EXPECT(!serves([](PlainConvolution& call) { call.channels = 0; }));
  EXPECT(!serves([](PlainConvolution& call) { call.element = Element::f32; }));
  EXPECT(!serves([](PlainConvolution& call) { call.extents.out_channels = 16; }));
  EXPECT(!serves([](PlainConvolution& call) { call.extents.kernel = 1; }));
  EXPECT(!serves([](PlainConvolution& call) { call.extents.stride = 2; }));
  EXPECT(!serves([](PlainConvolution& call) { call.extents.padding = 0; }));
  EXPECT(!serves([](PlainConvolution& call) { call.extents.out_height = 6; }));
  EXPECT(!serves([](PlainConvolution& call) { call.extents.out_width = 6; }));
  EXPECT(!serves([](PlainConvolution& call) { call.extents.batch = 0; }));
  EXPECT(!serves([](PlainConvolution& call) { call.extents.height = call.extents.out_height = 0; }));
  EXPECT(!serves([](PlainConvolution& call) { call.extents.width = call.extents.out_width = 0; }));
  // More than is counted in 32 bits: strips, and an image's elements.
  EXPECT(!serves([](PlainConvolution& call) { call.extents.batch = int64_t{1} << 28; }));
  EXPECT(!serves([](PlainConvolution& call) {
    call.extents.height = call.extents.out_height = call.extents.width = call.extents.out_width = 1 << 13;
  }));
  EXPECT(!serves([](PlainConvolution& call) {
    call.extents.height = call.extents.out_height = call.extents.width = call.extents.out_width = int64_t{1} << 32;
  }));
  EXPECT(!serves([](PlainConvolution& call) { call.strip_rows = -1; }));
  EXPECT(!serves([&](PlainConvolution& call) { call.x = shifted(call.x); }));
  EXPECT(!serves([&](PlainConvolution& call) { call.y = const_cast<unsigned char*>(shifted(call.y, 1)); }));
  EXPECT(!serves([&](PlainConvolution& call) { call.weight = shifted(call.weight); }));
  EXPECT(!serves([&](PlainConvolution& call) { call.bias = reinterpret_cast<const float*>(shifted(call.bias)); }));
  given.call.extents.batch = 0;
  EXPECT_ERROR(shape, "no such call is served", narrow_convolution(given.call, nullptr));
}

}  // namespace
