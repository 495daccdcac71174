#pragma once

#include "check.h"
#include "cuda/convolution_shape.h"
#include "cuda/device_memory.h"
#include "cuda/values.h"

/// A kernel for convolutions with no more than a bias.
struct PlainKernel {
  bool (*serves)(const nd::kernels::cuda::PlainConvolution&);
  void (*run)(const nd::kernels::cuda::PlainConvolution&, nd::kernels::cuda::Stream);
  int64_t products = 0;  // of an output in the weights' memory, the last of them zeros; 0: as many as there are
};

/// A call of one with its memory, and what it must give.
class PlainCase {
 public:
  PlainCase(const PlainKernel& kernel, const ConvolutionShape& s, nd::kernels::cuda::Element element, bool with_bias)
      : kernel_(kernel), shape_(s), element_(element) {
    const int64_t products = s.taps() * s.channels, row = kernel.products == 0 ? products : kernel.products;
    const auto x = values::rounded(element, values::random(s.batch * s.height * s.width * s.channels, 1));
    const auto bias = values::random(s.out_channels, 3);
    auto weight = values::rounded(element, values::random(s.out_channels * row, 2));
    for (int64_t i = 0; i < s.out_channels * row; ++i) {
      if (i % row >= products) weight[static_cast<size_t>(i)] = 0;
    }
    for (int64_t i = 0; i < s.out_pixels() * s.out_channels; ++i) {
      const int64_t out = i % s.out_channels;
      double sum = with_bias ? bias[static_cast<size_t>(out)] : 0, size = std::abs(sum);
      s.each_seen(i / s.out_channels, [&](int64_t tap, int64_t from) {
        for (int64_t channel = 0; channel < s.channels; ++channel) {
          const double product = double{weight[static_cast<size_t>(out * row + tap * s.channels + channel)]} *
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
    EXPECT(kernel_.serves(call));
    kernel_.run(call, nullptr);
    EXPECT(y.margins_hold());
    return values::decode(element_, y.values());
  }

  void expect_right() {
    const auto got = run();
    for (size_t i = 0; i < exact_.size(); ++i) {
      EXPECT_NEAR(got[i], exact_[i], 0.5 * values::spacing(element_, exact_[i]) + 1e-6 * size_[i]);
    }
  }

  /// NaNs in a pixel of the first image reach the outputs whose taps see it, and no others.
  void expect_local(int64_t row, int64_t column) {
    const auto clean = run();
    const std::vector<float> nans(static_cast<size_t>(shape_.channels), std::nanf(""));
    const auto bytes = nans.size() * values::size_of(element_);
    const int64_t pixel = row * shape_.width + column;
    device_memory::copy_in(static_cast<unsigned char*>(const_cast<void*>(call.x)) + static_cast<size_t>(pixel) * bytes,
                           values::encode(element_, nans).data(), bytes);
    const auto spoilt = run();
    for (size_t i = 0; i < clean.size(); ++i) {
      bool sees = false;
      shape_.each_seen(static_cast<int64_t>(i) / shape_.out_channels, [&](int64_t, int64_t from) { sees |= from == pixel; });
      if (sees) EXPECT(std::isnan(spoilt[i]));
      else EXPECT_EQUAL(spoilt[i], clean[i]);
    }
  }

  /// Whether it is served with a change made to it.
  template <typename Change>
  bool serves(const Change& change) {
    auto changed = call;
    changed.y = const_cast<void*>(call.weight);  // some place
    change(changed);
    return kernel_.serves(changed);
  }

  nd::kernels::cuda::PlainConvolution call{};

 private:
  PlainKernel kernel_;
  ConvolutionShape shape_;
  nd::kernels::cuda::Element element_;
  std::vector<double> exact_, size_;  // size: Σ of the addends' magnitudes
  std::vector<DeviceBuffer<unsigned char>> held_;
  std::vector<DeviceBuffer<float>> bias_;
};

/// A place that lies `bytes` further.
inline const unsigned char* shifted(const void* p, size_t bytes = 2) { return static_cast<const unsigned char*>(p) + bytes; }
