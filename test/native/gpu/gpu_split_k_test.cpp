#include <ATen/ATen.h>

#include <cstdio>

#include "core/unet/cuda_convolution.h"
#include "gpu/gpu_convolution.h"
#include "kernels/cuda_convolutions.h"
#include "kernels/cuda_ops.h"
#include "kernels/cudnn_convolution.h"

using namespace nd;
using namespace nd::test;

namespace {

struct Shape {
  int64_t in, size, out, stride = 1, padding = 1, padding_after = padding;
  bool doubles = false;
  int64_t past = 0, second = 0;  // channels of the shortcut's images
};
// cifar10's.
constexpr Shape kShapes[] = {{128, 32, 128}, {256, 16, 256}, {512, 16, 256}, {256, 8, 256}, {512, 8, 256}, {256, 4, 256},
                             {512, 4, 256}, {128, 32, 128, 2, 0, 1}, {256, 8, 256, 2, 0, 1}, {256, 16, 256, 1, 1, 1, true},
                             {256, 16, 256, 1, 1, 1, false, 256, 256}, {128, 32, 128, 1, 1, 1, false, 256, 128},
                             {256, 16, 256, 1, 1, 1, false, 128, 0}};

/// A call, and what it must give in float64.
struct Case {
  Case(int64_t batch, const Shape& shape, at::ScalarType dtype) : padding_after(shape.padding_after) {
    const auto x = draw({batch, shape.in, shape.size, shape.size}, dtype, 1);
    const auto weight = draw_weight(shape.out, shape.in, 3, dtype, 2);
    bias = draw({shape.out}, dtype, 3);
    const int64_t before = shape.padding, after = shape.padding_after;
    auto seen = exact(x);
    if (shape.doubles) seen = seen.repeat_interleave(2, 2).repeat_interleave(2, 3);
    expected = at::conv2d(at::constant_pad_nd(seen, {before, after, before, after}), exact(weight), exact(bias),
                          shape.stride);
    call = {.x = nhwc(x), .weight = nhwc(weight), .bias = bias.to(at::kFloat).to(kGpu), .residual = {}, .past = {},
            .stride = shape.stride, .padding = before, .doubles = shape.doubles, .scale = 1};
    bias = bias.to(kGpu);
    if (shape.past == 0) {
      const auto residual = draw(expected.sizes(), dtype, 4);
      expected += exact(residual);
      call.residual = nhwc(residual);
      return;
    }
    const auto past_weight = draw_weight(shape.out, shape.past + shape.second, 1, dtype, 5);
    auto all = draw({batch, shape.past, shape.size, shape.size}, dtype, 6);
    call.past = {nhwc(all), {}, nhwc(past_weight)};
    if (shape.second > 0) {
      const auto second = draw({batch, shape.second, shape.size, shape.size}, dtype, 7);
      call.past.second = nhwc(second);
      all = at::cat({all, second}, 1);
    }
    expected += at::conv2d(exact(all), exact(past_weight));
  }

  at::Tensor empty() const {
    return at::empty(expected.sizes(), call.x.options().memory_format(at::MemoryFormat::ChannelsLast));
  }
  /// The convolution alone by cuDNN, with bias and residual in its kernel, if that serves.
  bool by_cudnn(const at::Tensor& y) const {
    const auto x = call.doubles ? cuda::upsample_nearest(call.x) : call.x;
    const std::array<int64_t, 2> before{call.padding, call.padding}, after{padding_after, padding_after};
    return cuda::convolution_bias_residual({x, call.weight, bias, call.residual, call.stride, before, after}, y);
  }

  at::Tensor expected, bias;
  cuda::SplitKCall call;
  int64_t padding_after;
};

void expect_right(at::ScalarType dtype, double tolerance) {
  for (const auto& shape : kShapes) {
    for (const int64_t batch : {1, 3, 8}) {
      const Case given(batch, shape, dtype);
      const auto y = given.empty();
      if (cuda::split_k_convolution(given.call, y)) {
        expect_within(y, given.expected, tolerance);
      } else {
        EXPECT(batch > 1);  // there are many outputs
      }
    }
  }
}

TEST("convolutions whose warps share the sum: float16") { expect_right(at::kHalf, 1e-3); }
TEST("convolutions whose warps share the sum: bfloat16") { expect_right(at::kBFloat16, 8e-3); }

TEST("how long they take, and cuDNN without the shortcut") {
  const cuda::MeasuredAlgorithms measured;
  const ManyAlgorithms many;
  for (const auto& shape : kShapes) {
    for (const int64_t batch : {1, 8}) {
      const Case given(batch, shape, at::kBFloat16);
      const auto y = given.empty();
      if (!cuda::split_k_convolution(given.call, y)) continue;
      const double us = 1e6 * cuda::best_seconds(kGpu, [&] { cuda::split_k_convolution(given.call, y); });
      std::printf("  %2ld x %2ldx%2ld %3ld -> %3ld, stride %ld%s, shortcut %3ld: %6.1f µs", batch, shape.size, shape.size, shape.in,
                  shape.out, shape.stride, shape.doubles ? ", doubled" : "", shape.past + shape.second, us);
      if (given.by_cudnn(y)) std::printf(", cuDNN %6.1f µs", 1e6 * cuda::best_seconds(kGpu, [&] { given.by_cudnn(y); }));
      std::printf("\n");
    }
  }
}

TEST("a sample's bits do not depend on the batch") {
  for (const auto& shape : kShapes) {
    const Case given(3, shape, at::kBFloat16);
    const auto y = given.empty();
    if (!cuda::split_k_convolution(given.call, y)) continue;  // too many for a small GPU
    auto first = given.call;
    for (auto* tensor : {&first.x, &first.residual, &first.past.x, &first.past.second}) {
      if (tensor->defined()) *tensor = tensor->narrow(0, 0, 1);
    }
    const auto alone = at::empty_like(y.narrow(0, 0, 1), at::MemoryFormat::ChannelsLast);
    EXPECT(cuda::split_k_convolution(first, alone));
    EXPECT(at::equal(alone, y.narrow(0, 0, 1)));
  }
}

/// A layer of the model's, whichever way it takes; what it gives is whole pixels where a norm is next.
TEST("layers with and without a shortcut, of channels that fill vectors and that do not") {
  const cuda::MeasuredAlgorithms measured;
  for (const int64_t out : {36, 64, 100, 128}) {
    const int64_t in = 64, size = 8, past_in = 96;
    const auto weight = draw_weight(out, in, 3, at::kHalf, 1), bias = draw({out}, at::kHalf, 2);
    const auto past_weight = draw_weight(out, past_in, 1, at::kHalf, 3);
    const auto x = draw({2, in, size, size}, at::kHalf, 4), past = draw({2, past_in, size, size}, at::kHalf, 5);
    const ConvolutionBias there{bias.to(kGpu), bias.to(kGpu, at::kFloat)};
    const CudaConvolution layer(weight.to(kGpu), there, {in, out, 3, 1, 1}), shortcut(past_weight.to(kGpu), there, {past_in, out, 1});
    cuda::synchronize(kGpu);
    const auto sums = at::conv2d(exact(x), exact(weight), {}, 1, 1), with_bias = sums + exact(bias).view({-1, 1, 1});
    const auto bare = layer.without_bias(nhwc(x));
    EXPECT(bare.is_contiguous(at::MemoryFormat::ChannelsLast));
    expect_within(bare, sums, 1e-3);
    expect_within(layer(nhwc(x), {}), with_bias, 1e-3);
    const auto joined = with_bias + at::conv2d(exact(past), exact(past_weight));
    expect_within(layer.with_shortcut(nhwc(x), shortcut, nhwc(past), {}, {}), joined, 1e-3);
    const auto first = nhwc(past.narrow(1, 0, 32)), second = nhwc(past.narrow(1, 32, 64));
    expect_within(layer.with_shortcut(nhwc(x), shortcut, first, second, {.divisor = 2}), joined / 2, 1e-3);
  }
}

TEST("a first layer, of few channels, and a last one, of few outputs") {
  struct Ends {
    int64_t in, out, size;
  };
  const cuda::MeasuredAlgorithms measured;
  for (const auto dtype : {at::kHalf, at::kBFloat16}) {
    const double tolerance = dtype == at::kHalf ? 1e-3 : 8e-3;
    for (const Ends& ends : {Ends{3, 128, 32}, {1, 32, 28}, {2, 96, 7}, {4, 64, 8}, {128, 3, 32}, {32, 1, 28}}) {
      for (const int64_t batch : {1, 5, 64, 256}) {
        const auto weight = draw_weight(ends.out, ends.in, 3, dtype, 1), bias = draw({ends.out}, dtype, 2);
        const auto x = draw({batch, ends.in, ends.size, ends.size}, dtype, 3);
        const CudaConvolution layer(weight.to(kGpu), {bias.to(kGpu), bias.to(kGpu, at::kFloat)}, {ends.in, ends.out, 3, 1, 1});
        cuda::synchronize(kGpu);
        const auto expected = at::conv2d(exact(x), exact(weight), exact(bias), 1, 1);
        expect_within(layer(nhwc(x), {}), expected, tolerance);
        const bool is_narrow = ends.out < cuda::narrow_outputs;
        const auto wide = [&](const at::Tensor& values) {
          std::vector<int64_t> padding(static_cast<size_t>(2 * values.dim()));
          padding.back() = cuda::narrow_outputs - ends.out;
          return at::constant_pad_nd(values, padding);
        };
        const auto taps = is_narrow ? nhwc(wide(weight)) : cuda::thin_weight(weight.to(kGpu));
        EXPECT(taps.defined() == (ends.in != 4));  // 9 taps of 4 channels are more than a product's 32
        if (!taps.defined()) continue;
        const auto floats = (is_narrow ? wide(bias) : bias).to(kGpu, at::kFloat);
        const auto y = at::empty({batch, taps.size(0), ends.size, ends.size},
                                 at::device(kGpu).dtype(dtype).memory_format(at::MemoryFormat::ChannelsLast));
        const cuda::PlainCall call{nhwc(x), taps, floats, 3, 1, 1};
        cuda::synchronize(kGpu);
        const auto run = [&] { return is_narrow ? cuda::narrow_convolution(call, y) : cuda::thin_convolution(call, y); };
        EXPECT(run());
        expect_within(y.narrow(1, 0, ends.out), expected, tolerance);
        std::printf("  %2ld x %2ldx%2ld %ld -> %3ld: %6.1f µs\n", batch, ends.size, ends.size, ends.in, ends.out,
                    1e6 * cuda::best_seconds(kGpu, run));
      }
    }
  }
}

/// Norms and convolutions in turn, as in a UNet, each of the result of the one before; some of the norms write over it. Then a last one
/// to few channels, and a norm that writes over what it reads.
class Chain {
 public:
  Chain(int64_t channels, int64_t size) : x(nhwc(draw({2, channels, size, size}, at::kBFloat16, 1))) {
    for (uint64_t layer = 0; layer < 12; ++layer) {
      weights_.push_back(nhwc(draw_weight(channels, channels, 3, at::kBFloat16, 2 + layer)));
    }
    last_ = nhwc(draw_weight(cuda::narrow_outputs, channels, 3, at::kBFloat16, 50));
    ones_ = at::ones({channels}, x.options().dtype(at::kFloat)), zeros_ = at::zeros_like(ones_);
    cuda::synchronize(kGpu);
  }

  /// after_each is called between any two.
  template <typename AfterEach>
  at::Tensor run(const AfterEach& after_each) const {
    const auto norm = [&](const at::Tensor& from, const at::Tensor& to) {
      cuda::group_norm(from, {}, to, {}, 32,
                       {ones_.const_data_ptr<float>(), zeros_.const_data_ptr<float>(), nullptr, nullptr, 0, 1e-5F,
                        kernels::NormActivation::silu});
      after_each();
    };
    auto h = x;
    for (size_t layer = 0; layer < weights_.size(); ++layer) {
      const bool in_place = layer % 2 == 1;
      const auto normed = in_place ? h : at::empty_like(h);
      norm(h, normed);
      const auto y = at::empty_like(h);
      EXPECT(cuda::split_k_convolution({.x = normed, .weight = weights_[layer], .bias = zeros_,
                                        .residual = in_place ? at::Tensor() : h, .past = {}, .stride = 1, .padding = 1,
                                        .doubles = false, .scale = 1}, y));
      after_each();
      h = y;
    }
    const auto y = at::empty({x.size(0), cuda::narrow_outputs, x.size(2), x.size(3)},
                             x.options().memory_format(at::MemoryFormat::ChannelsLast));
    norm(h, h);
    EXPECT(cuda::narrow_convolution({h, last_, zeros_.narrow(0, 0, cuda::narrow_outputs), 3, 1, 1}, y));
    after_each();
    norm(h, h);
    return at::cat({h, y}, 1);
  }

  const at::Tensor x;

 private:
  at::Tensor ones_, zeros_, last_;
  std::vector<at::Tensor> weights_;
};

TEST("kernels that overlap see all of what those before them wrote") {
  for (const auto& [channels, size] : {std::pair<int64_t, int64_t>{256, 4}, {256, 8}, {256, 16}, {128, 32}}) {
    const Chain chain(channels, size);
    const auto at_once = [] {};
    // In turn: what is left of the run before is never right.
    const std::vector<at::Tensor> inputs{chain.x.clone(), nhwc(draw(chain.x.sizes(), at::kBFloat16, 99))};
    std::vector<at::Tensor> expected;
    for (const auto& input : inputs) {
      chain.x.copy_(input);
      expected.push_back(chain.run([] { cuda::synchronize(kGpu); }));
    }
    for (size_t turn = 0; turn < 20; ++turn) {
      chain.x.copy_(inputs[turn % 2]);
      EXPECT(at::equal(chain.run(at_once), expected[turn % 2]));
    }
    const cuda::GraphPool pool(kGpu);
    at::Tensor y;
    cuda::Graph graph(pool, kGpu, [&] { y = chain.run(at_once); });
    for (size_t turn = 0; turn < 200; ++turn) {
      chain.x.copy_(inputs[turn % 2]);
      graph.replay();
      EXPECT(at::equal(y, expected[turn % 2]));
    }
  }
}

}  // namespace
