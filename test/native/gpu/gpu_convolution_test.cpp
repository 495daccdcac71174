#include <ATen/ATen.h>
#include <ATen/Context.h>

#include <atomic>
#include <cmath>
#include <cstdio>
#include <thread>

#include "core/unet/cuda_convolution.h"
#include "gpu/gpu_convolution.h"
#include "kernels/cuda_ops.h"
#include "kernels/cudnn_convolution.h"

using namespace nd;
using namespace nd::test;

namespace {

using Pair = std::array<int64_t, 2>;
struct Shape {
  int64_t in, size, out, stride = 1;
  Pair padding{1, 1}, padding_after = padding;
  int64_t kernel = 3;
};
// The last are phases of a doubled image's.
constexpr Shape kShapes[] = {{128, 32, 128}, {256, 8, 256}, {512, 4, 256}, {128, 16, 256}, {256, 8, 256, 2},
                             {128, 32, 128, 2, {0, 0}, {1, 1}}, {256, 4, 512, 2, {0, 0}, {1, 1}}, {128, 33, 128, 2, {0, 0}},
                             {8, 32, 128}, {128, 32, 8}, {256, 16, 256, 1, {1, 0}, {0, 1}, 2}, {64, 8, 128, 1, {0, 0}, {1, 1}, 2}};

at::Tensor padded_as(const Pair& before, const Pair& after, const at::Tensor& x) {
  return at::constant_pad_nd(x, {before[1], after[1], before[0], after[0]});
}

/// A call, and what it must give in float64.
struct Case {
  Case(int64_t batch, const Shape& shape, at::ScalarType dtype, bool with_residual) {
    const auto x = draw({batch, shape.in, shape.size, shape.size}, dtype, 1);
    const auto weight = draw_weight(shape.out, shape.in, shape.kernel, dtype, 2);
    const auto bias = draw({shape.out}, dtype, 3);
    const auto padded = padded_as(shape.padding, shape.padding_after, x.to(at::kDouble));
    expected = at::conv2d(padded, weight.to(at::kDouble), bias.to(at::kDouble), shape.stride);
    call = {nhwc(x), nhwc(weight), bias.to(kGpu), {}, shape.stride, shape.padding, shape.padding_after};
    bias_float = call.bias.to(at::kFloat);
    if (!with_residual) return;
    const auto residual = draw(expected.sizes(), dtype, 4);
    expected += residual.to(at::kDouble);
    call.residual = nhwc(residual);
  }

  at::Tensor empty() const {
    return at::empty(expected.sizes(), call.x.options().memory_format(at::MemoryFormat::ChannelsLast));
  }
  /// The other way: cuDNN's convolution, and a pass of ours.
  at::Tensor apart() const {
    const bool is_even = call.padding == call.padding_after && call.padding[0] == call.padding[1];
    const bool is_after = call.padding == Pair{0, 0} && call.padding_after == Pair{1, 1};
    const auto x = is_even ? call.x : is_after ? cuda::pad_right_below(call.x) : nhwc(padded_as(call.padding, call.padding_after, call.x));
    const auto y = nhwc(conv2d_as_set(x, call.weight, call.stride, is_even ? call.padding[0] : 0));
    cuda::add_bias_residual_(y, bias_float, call.residual, 1);
    return y;
  }

  at::Tensor expected;
  cuda::FusedConvolution call;
  at::Tensor bias_float;
};

/// A captured call gives the same bits.
void expect_replayed(const Case& given, const at::Tensor& y) {
  const auto again = given.empty();
  const cuda::GraphPool pool(kGpu);
  cuda::Graph graph(pool, kGpu, [&] { EXPECT(cuda::convolution_bias_residual(given.call, again)); });
  again.zero_();
  graph.replay();
  EXPECT(at::equal(again, y));
}

/// Every shape; says how long each takes in one kernel and in two.
void expect_right(at::ScalarType dtype, double tolerance) {
  const cuda::MeasuredAlgorithms measured;
  const ManyAlgorithms many;
  for (const auto& shape : kShapes) {
    for (const int64_t batch : {1, 3, 64}) {
      for (const bool with_residual : {false, true}) {
        const Case given(batch, shape, dtype, with_residual);
        const auto y = given.empty();
        const auto fused = [&] { return cuda::convolution_bias_residual(given.call, y); };
        const bool served = fused();
        const double apart_us = 1e6 * cuda::best_seconds(kGpu, [&] { given.apart(); });
        std::printf("  %2ld x %2ldx%2ld %3ld -> %3ld, %ldx%ld, stride %ld, padding %ld %ld, %ld %ld%s: apart %6.1f µs, ",
                    batch, shape.size, shape.size, shape.in, shape.out, shape.kernel, shape.kernel, shape.stride,
                    shape.padding[0], shape.padding[1], shape.padding_after[0], shape.padding_after[1],
                    with_residual ? ", residual" : "          ", apart_us);
        if (!served) {
          std::printf("not served in one\n");
          continue;
        }
        std::printf("in one %6.1f µs\n", 1e6 * cuda::best_seconds(kGpu, [&] { fused(); }));
        expect_within(y, given.expected, tolerance);
        expect_replayed(given, y);
      }
    }
  }
}

TEST("convolutions with bias and residual in one kernel: float32") { expect_right(at::kFloat, 2e-5); }
TEST("convolutions with bias and residual in one kernel: float16") { expect_right(at::kHalf, 1e-3); }
TEST("convolutions with bias and residual in one kernel: bfloat16") { expect_right(at::kBFloat16, 8e-3); }

TEST("what is new is served where it is measured, if anything is, and not in a capture") {
  const Case known(2, {128, 8, 128}, at::kHalf, true), unknown(7, {128, 8, 128}, at::kHalf, true);
  const auto y = unknown.empty();
  bool served_there = true;
  const cuda::GraphPool pool(kGpu);
  const cuda::Graph graph(pool, kGpu, [&] {
    served_there = cuda::convolution_bias_residual(unknown.call, y);
    y.zero_();
  });
  EXPECT(!served_there);
  EXPECT(!cuda::convolution_bias_residual(unknown.call, y));
  const cuda::MeasuredAlgorithms measured;
  EXPECT_EQUAL(cuda::convolution_bias_residual(unknown.call, y), cuda::convolution_bias_residual(known.call, known.empty()));
}

TEST("a doubled image's convolution, as four of the image and in every way that a layer may take") {
  const cuda::MeasuredAlgorithms measured;
  for (const auto dtype : {at::kFloat, at::kHalf, at::kBFloat16}) {
    const double tolerance = dtype == at::kFloat ? 2e-5 : dtype == at::kHalf ? 2e-3 : 1.6e-2;  // the phases' weights are sums, rounded
    for (const int64_t batch : {1, 3, 64}) {
      const int64_t out = 128, size = 8;
      const auto x = draw({batch, 64, size, size}, dtype, 1), bias = draw({out}, dtype, 3);
      const auto weight = draw_weight(out, 64, 3, dtype, 2);
      const auto doubled = exact(x).repeat_interleave(2, 2).repeat_interleave(2, 3);
      const auto expected = at::conv2d(doubled, exact(weight), exact(bias), 1, 1);
      const ConvolutionBias biases{bias.to(kGpu), bias.to(kGpu, at::kFloat)};
      const CudaConvolution layer(weight.to(kGpu), biases, {64, out, 3, 1, 1, Before::doubling});
      const auto image = nhwc(x), phases = doubling_phases(weight.to(kGpu));
      cuda::synchronize(kGpu);
      expect_within(layer(image, {}), expected, tolerance);
      const auto y = doubled_by_phases(image, phases, biases.values);
      if (y.defined()) expect_within(y, expected, tolerance);
      else std::printf("  %s, batch %ld: not served phase by phase\n", c10::toString(dtype), batch);
    }
  }
}

TEST("channels and addresses that the kernels can't read are not served") {
  const cuda::MeasuredAlgorithms measured;
  const Case odd(2, {12, 8, 128}, at::kHalf, false);
  EXPECT(!cuda::convolution_bias_residual(odd.call, odd.empty()));
  Case shifted(2, {128, 8, 128}, at::kHalf, false);
  const auto memory = at::empty({shifted.call.x.numel() + 1}, shifted.call.x.options());
  shifted.call.x = memory.slice(0, 1).view({2, 8, 8, 128}).permute({0, 3, 1, 2}).copy_(shifted.call.x);
  EXPECT(!cuda::convolution_bias_residual(shifted.call, shifted.empty()));
}

TEST("one convolution from several threads at once, each on a stream of its own") {
  const Case given(3, {256, 8, 256}, at::kHalf, true);
  const auto y = given.empty();
  {
    const cuda::MeasuredAlgorithms measured;
    if (!cuda::convolution_bias_residual(given.call, y)) return;
  }
  cuda::synchronize(kGpu);
  std::atomic<int> same{0};
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&] {
      const c10::InferenceMode inference;
      const cuda::OwnStream stream(kGpu);
      const auto mine = given.empty();
      for (int turn = 0; turn < 50; ++turn) {
        mine.zero_();
        same += cuda::convolution_bias_residual(given.call, mine) && at::equal(mine, y);
      }
    });
  }
  for (auto& thread : threads) thread.join();
  EXPECT_EQUAL(same.load(), 200);
}

}  // namespace
