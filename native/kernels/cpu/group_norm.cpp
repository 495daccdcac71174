#include "kernels/group_norm.h"

#include <algorithm>
#include <cmath>
#include <memory>

#include "kernels/cpu/group_norm_kernels.h"
#include "kernels/cpu/rounding.h"

namespace nd::kernels {

namespace {

template <typename T>
const GroupNormKernels<T>& kernels_for(Isa isa) {
#if defined(__x86_64__)
  if (isa == Isa::avx512) return kernels_of<T>(avx512::group_norm_f32, avx512::group_norm_bf16);
  if (isa == Isa::avx2) return kernels_of<T>(avx2::group_norm_f32, avx2::group_norm_bf16);
#endif
  return kernels_of<T>(portable::group_norm_f32, portable::group_norm_bf16);
}

/// Below this many elements a second thread costs more than it saves.
constexpr int64_t kSerialElements = 1 << 14;

/// Rows per chunk: moments are taken by chunk and merged in the chunks' order, so the result depends on the image's
/// size alone, never on batch or threads.
int64_t chunk_rows(int64_t pixels) { return std::clamp<int64_t>(round_up(pixels / 8, 16), 16, 256); }

/// One call's work, cut into (sample, chunk).
template <typename T>
class GroupNorm {
 public:
  GroupNorm(const GroupNormKernels<T>& kernels, const T* x, const T* x2, int64_t channels2, T* y, GroupNormShape shape,
            const GroupNormParameters& parameters)
      : kernels_(kernels), x_(x), x2_(x2), y_(y), channels1_(shape.channels - channels2), shape_(shape),
        parameters_(parameters), rows_(chunk_rows(shape.pixels)), chunks_(ceil_div(shape.pixels, rows_)),
        moments_(new float[static_cast<size_t>(2 * shape.batch * chunks_ * shape.channels)]),
        affine_(new float[static_cast<size_t>(2 * shape.batch * shape.channels)]) {}

  void run() {
    const int64_t batch = shape_.batch;
    [[maybe_unused]] const int threads =
        batch * shape_.pixels * shape_.channels < kSerialElements ? 1 : available_threads();
    if (threads == 1 || (batch >= threads && (batch % threads == 0 || batch >= 4 * threads))) {
      // A whole sample per thread: the second pass finds it in the cache.
#pragma omp parallel for schedule(static) num_threads(threads)
      for (int64_t b = 0; b < batch; ++b) {
        for (int64_t i = 0; i < chunks_; ++i) take_moments(b, i);
        merge(b);
        for (int64_t i = 0; i < chunks_; ++i) normalise(b, i);
      }
      return;
    }
#pragma omp parallel num_threads(threads)
    {
#pragma omp for schedule(static)
      for (int64_t i = 0; i < batch * chunks_; ++i) take_moments(i / chunks_, i % chunks_);
#pragma omp for schedule(static)
      for (int64_t b = 0; b < batch; ++b) merge(b);
#pragma omp for schedule(static)
      for (int64_t i = 0; i < batch * chunks_; ++i) normalise(i / chunks_, i % chunks_);
    }
  }

 private:
  int64_t rows_in(int64_t chunk) const { return std::min(rows_, shape_.pixels - chunk * rows_); }
  float* mean_of(int64_t b, int64_t chunk) const {
    return moments_.get() + 2 * (b * chunks_ + chunk) * shape_.channels;
  }

  void take_moments(int64_t b, int64_t chunk) const {
    const int64_t first = b * shape_.pixels + chunk * rows_, channels2 = shape_.channels - channels1_;
    float* mean = mean_of(b, chunk);
    float* squares = mean + shape_.channels;
    kernels_.moments(x_ + first * channels1_, channels1_, rows_in(chunk), channels1_, mean, squares);
    if (channels2 == 0) return;
    kernels_.moments(x2_ + first * channels2, channels2, rows_in(chunk), channels2, mean + channels1_,
                     squares + channels1_);
  }

  /// From the chunks' moments to y = x·a_c + b_c, in double.
  void merge(int64_t b) const {
    const int64_t channels = shape_.channels, size = channels / shape_.groups;
    const double count = static_cast<double>(shape_.pixels * size);
    float* a = affine_.get() + 2 * b * channels;
    for (int64_t group = 0; group < shape_.groups; ++group) {
      const int64_t begin = group * size, end = begin + size;
      double sum = 0;
      for (int64_t i = 0; i < chunks_; ++i) {
        double of_chunk = 0;
        for (int64_t c = begin; c < end; ++c) of_chunk += mean_of(b, i)[c];
        sum += of_chunk * static_cast<double>(rows_in(i));
      }
      const double mean = sum / count;
      double squares = 0;
      for (int64_t i = 0; i < chunks_; ++i) {
        const float* means = mean_of(b, i);
        double between = 0;
        for (int64_t c = begin; c < end; ++c) {
          between += (means[c] - mean) * (means[c] - mean);
          squares += means[channels + c];
        }
        squares += between * static_cast<double>(rows_in(i));
      }
      const double inverse_deviation = 1.0 / std::sqrt(squares / count + parameters_.eps);
      for (int64_t c = begin; c < end; ++c) set_affine(b, c, mean, inverse_deviation, a);
    }
  }

  void set_affine(int64_t b, int64_t c, double mean, double inverse_deviation, float* a) const {
    const GroupNormParameters& p = parameters_;
    double factor = inverse_deviation * (p.gamma == nullptr ? 1.0 : p.gamma[c]);
    double offset = (p.beta == nullptr ? 0.0 : p.beta[c]) - mean * factor;
    if (p.scale != nullptr) {
      const double modulation = 1.0 + p.scale[b * p.modulation_stride + c];
      factor *= modulation;
      offset = offset * modulation + p.shift[b * p.modulation_stride + c];
    }
    a[c] = static_cast<float>(factor);
    a[shape_.channels + c] = static_cast<float>(offset);
  }

  void normalise(int64_t b, int64_t chunk) const {
    const int64_t first = b * shape_.pixels + chunk * rows_, channels = shape_.channels;
    const int64_t channels2 = channels - channels1_;
    const bool silu = parameters_.activation == NormActivation::silu;
    const float* a = affine_.get() + 2 * b * channels;
    T* y = y_ + first * channels;
    kernels_.apply(x_ + first * channels1_, channels1_, y, channels, rows_in(chunk), channels1_, a, a + channels, silu);
    if (channels2 == 0) return;
    kernels_.apply(x2_ + first * channels2, channels2, y + channels1_, channels, rows_in(chunk), channels2,
                   a + channels1_, a + channels + channels1_, silu);
  }

  const GroupNormKernels<T>& kernels_;
  const T* x_;
  const T* x2_;
  T* y_;
  int64_t channels1_;
  GroupNormShape shape_;
  GroupNormParameters parameters_;
  int64_t rows_, chunks_;
  std::unique_ptr<float[]> moments_;  // per sample and chunk: channels' means, then their sums of squares
  std::unique_ptr<float[]> affine_;   // per sample: channels' a, then b
};

}  // namespace

void group_norm_on(Isa isa, const float* x, const float* x2, int64_t channels2, float* y, GroupNormShape shape,
                   const GroupNormParameters& parameters) {
  GroupNorm<float>(kernels_for<float>(isa), x, x2, channels2, y, shape, parameters).run();
}
void group_norm_on(Isa isa, const uint16_t* x, const uint16_t* x2, int64_t channels2, uint16_t* y, GroupNormShape shape,
                   const GroupNormParameters& parameters) {
  GroupNorm<uint16_t>(kernels_for<uint16_t>(isa), x, x2, channels2, y, shape, parameters).run();
}

void group_norm_nhwc(const float* x, float* y, GroupNormShape shape, const GroupNormParameters& parameters) {
  group_norm_on(best_isa(), x, nullptr, 0, y, shape, parameters);
}
void group_norm_nhwc_bf16(const uint16_t* x, uint16_t* y, GroupNormShape shape, const GroupNormParameters& parameters) {
  group_norm_on(best_isa(), x, nullptr, 0, y, shape, parameters);
}
void group_norm_nhwc2(const float* x, const float* x2, int64_t channels2, float* y, GroupNormShape shape,
                      const GroupNormParameters& parameters) {
  group_norm_on(best_isa(), x, x2, channels2, y, shape, parameters);
}
void group_norm_nhwc2_bf16(const uint16_t* x, const uint16_t* x2, int64_t channels2, uint16_t* y, GroupNormShape shape,
                           const GroupNormParameters& parameters) {
  group_norm_on(best_isa(), x, x2, channels2, y, shape, parameters);
}

}  // namespace nd::kernels
