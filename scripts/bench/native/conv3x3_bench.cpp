#include <ATen/Functions.h>
#include <ATen/Parallel.h>
#include <ATen/TensorOperators.h>
#include <c10/core/InferenceMode.h>

#include <cmath>
#include <cstdio>
#include <cstdlib>

#include "bench.h"
#include "core/unet/onednn_ops.h"
#include "kernels/conv3x3.h"

/// conv3x3_bench [THREADS] [SECONDS a layer] [cold]: the 3×3 convolutions of google/ddpm-cifar10-32, those of stride 1, by
/// conv3x3_nhwc and by oneDNN with prepacked weights, in turn. `cold` reads 64 MiB between calls, as a whole forward does.
/// Times are minima, ratios medians of neighbours.

namespace {

using namespace nd::bench;
using namespace nd::kernels;

struct Layer {
  int64_t side, in, out, count;
};
constexpr Layer kLayers[] = {{32, 3, 128, 1},   {32, 128, 128, 7}, {32, 384, 128, 1}, {32, 256, 128, 2}, {32, 256, 256, 1},
                             {32, 128, 3, 1},   {16, 128, 256, 1}, {16, 256, 256, 7}, {16, 512, 256, 2}, {16, 384, 256, 1},
                             {8, 256, 256, 9},  {8, 512, 256, 3},  {4, 256, 256, 11}, {4, 512, 256, 3}};

/// Milliseconds.
struct Times {
  double one_dnn, own;
};

template <typename T>
Times measure(const Layer& layer, int64_t batch, at::ScalarType dtype, double seconds, const at::Tensor& evict) {
  const auto [side, in, out, count] = layer;
  const at::Tensor x = at::silu(at::randn({batch, side, side, in})).to(dtype).permute({0, 3, 1, 2});
  const at::Tensor weight = at::randn({out, in, 3, 3}).div(std::sqrt(9.0 * static_cast<double>(in))).to(dtype);
  const at::Tensor bias = at::randn({out}), y = at::empty({batch, side, side, out}, dtype);
  constexpr nd::onednn::ConvGeometry geometry{1, 1};
  const auto one_dnn = [&, packed = nd::onednn::pack(weight, geometry, x.sizes()), bias = bias.to(dtype)] {
    return nd::onednn::convolution(x, packed, bias, geometry);
  };
  const Conv3x3Weights<T> packed(static_cast<const T*>(weight.const_data_ptr()), out, in);
  Conv3x3Epilogue<T> epilogue;
  epilogue.bias = bias.const_data_ptr<float>();
  Scratch scratch;
  const auto timed = [&](const auto& call) {
    if (evict.defined()) evict.add_(1);
    const auto begin = Clock::now();
    call();
    return milliseconds_since(begin);
  };

  Times best{1e9, 1e9};
  std::vector<double> ratios;
  for (const auto begin = Clock::now(); milliseconds_since(begin) < 1e3 * seconds || ratios.size() < 5;) {
    const double theirs = timed([&] { one_dnn(); });
    const double ours = timed([&] {
      conv3x3_nhwc(static_cast<const T*>(x.const_data_ptr()), static_cast<T*>(y.mutable_data_ptr()),
                   {batch, side, side}, packed, epilogue, scratch);
    });
    best = {std::min(best.one_dnn, theirs), std::min(best.own, ours)};
    ratios.push_back(theirs / ours);
  }
  const at::Tensor wanted = one_dnn().to(at::kFloat);
  const double difference = ((y.permute({0, 3, 1, 2}).to(at::kFloat) - wanted).norm() / wanted.norm()).item<double>();
  const double gflop = 18e-9 * static_cast<double>(batch * side * side * in * out);
  std::printf("%2ld²  %3ld → %3ld  ×%-2ld  oneDNN %9.1f µs %4.0f GFLOP/s   own %9.1f µs %4.0f   ratio %.2f, median %.2f   "
              "difference %.1e\n", side, in, out, count, best.one_dnn * 1e3, 1e3 * gflop / best.one_dnn, best.own * 1e3,
              1e3 * gflop / best.own, best.one_dnn / best.own, median(ratios), difference);
  return best;
}

}  // namespace

int main(int argc, char** argv) {
  c10::InferenceMode inference;
  at::set_num_threads(argc > 1 ? std::atoi(argv[1]) : at::get_num_threads());
  const double seconds = argc > 2 ? std::atof(argv[2]) : 0.3;
  const at::Tensor evict = argc > 3 ? at::zeros({16 << 20}) : at::Tensor();
  for (const at::ScalarType dtype : {at::kFloat, at::kBFloat16}) {
    for (const int64_t batch : {1, 8}) {
      std::printf("%s, batch %ld, %d threads\n", c10::toString(dtype), batch, at::get_num_threads());
      Times total{0, 0};
      for (const Layer& layer : kLayers) {
        const Times times = dtype == at::kFloat ? measure<float>(layer, batch, dtype, seconds, evict)
                                                : measure<uint16_t>(layer, batch, dtype, seconds, evict);
        total.one_dnn += times.one_dnn * static_cast<double>(layer.count);
        total.own += times.own * static_cast<double>(layer.count);
      }
      std::printf("a forward's: oneDNN %.2f ms, own %.2f ms, ratio %.2f\n\n", total.one_dnn, total.own,
                  total.one_dnn / total.own);
    }
  }
}
