#pragma once

#include "kernels/cuda/convolution_pixels.cuh"
#include "kernels/cuda/tensor_core.cuh"

/// What split_k_convolution's products are of: step by step, the weights of some outputs, and what the taps see of some pixels.
namespace nd::kernels::cuda::split_k {

template <typename T>
struct Term {
  const T* x;
  const T* weight;
  int channels, weight_stride, kernel;
  int steps;  // of kRowChannels; 0: no term
  Divisor by_tap_steps, by_kernel;
};

/// What the kernel gets.
template <typename T>
struct Work {
  Term<T> terms[kMostTerms];
  int steps;                 // of all terms
  ConvolutionPixels pixels;  // of the first term
  int doubling;              // log₂ of a pixel's repetitions in a direction
  const float* bias;
  const T* residual;
  float scale;
  T* y;
};

/// A step is some channels under a tap of a term's kernel; channels come first, then taps, then terms. Where one is:
struct Place {
  int term, index, tap, channel;  // index: of the term's steps

  template <typename T>
  __device__ __forceinline__ Place(const Work<T>& work, int step) : term(0), index(step) {
#pragma unroll
    for (int i = 0; i < kMostTerms - 1; ++i) {
      if (term == i && index >= work.terms[i].steps) index -= work.terms[i].steps, term = i + 1;
    }
    tap = quotient(index, work.terms[term].by_tap_steps);
    channel = index * kRowChannels - tap * work.terms[term].channels;
  }
};

/// The weights of a lane's output channels, every eighth from lane / 4 on, step by step.
template <typename T, int kCount>
class Outs {
 public:
  __device__ __forceinline__ Outs(const Work<T>& work, const Place& place, int first_out)
      : work_(work), out_(first_out + lane() / 4), term_(place.term) {
    locate(place.index);
  }

  __device__ __forceinline__ void load_and_advance(uint4 (&outs)[kCount]) {
#pragma unroll
    for (int i = 0; i < kCount; ++i) outs[i] = load_once(at_ + i * eighth_);
    at_ += kRowChannels;
    if (--left_ > 0) return;
    if (++term_ < kMostTerms) locate(0);
  }

  /// So many steps' weights will be loaded, if the term has as many: they come near.
  __device__ __forceinline__ void expect(int steps) const {
    for (int step = 0; step < min(steps, left_); ++step) {
#pragma unroll
      for (int i = 0; i < kCount; ++i) bring_near(at_ + i * eighth_ + step * kRowChannels);
    }
  }

 private:
  /// An output's weights lie in the order of the steps.
  __device__ __forceinline__ void locate(int index) {
    const Term<T>& term = work_.terms[term_];
    at_ = term.weight + int64_t{out_} * term.weight_stride + index * kRowChannels + lane_channel();
    eighth_ = int64_t{8} * term.weight_stride;
    left_ = term.steps - index;
  }

  const Work<T>& work_;
  const int out_;
  int term_, left_;
  const T* at_;
  int64_t eighth_;
};

/// What the taps see of a lane's pixels, every eighth from lane / 4 on, step by step.
template <typename T, int kCount>
class Rows {
 public:
  __device__ __forceinline__ Rows(const Work<T>& work, const Place& place, int first_row)
      : work_(work), row_(first_row + lane() / 4), term_(place.term), channel_(place.channel) {
    if (term_ == 0) {
      down_ = quotient(place.tap, work.terms[0].by_kernel);
      right_ = place.tap - down_ * work.terms[0].kernel;
#pragma unroll
      for (int i = 0; i < kCount; ++i) {
        const int row = row_ + 8 * i;
        const Corner corner = corner_of(work.pixels, row);
        image_[i] = corner.image * work.pixels.height * work.pixels.width;
        y_[i] = row < work.pixels.rows ? corner.y : -kFar;  // behind the last is nothing but zeros
        x_[i] = corner.x;
      }
    } else {
      begin_pointwise();
    }
    see();
  }

  __device__ __forceinline__ void load_and_advance(uint4 (&rows)[kCount]) {
#pragma unroll
    for (int i = 0; i < kCount; ++i) {
      rows[i] = make_uint4(0, 0, 0, 0);
      if (at_[i] >= 0) rows[i] = *reinterpret_cast<const uint4*>(x_of_lane_ + at_[i]);
    }
    channel_ += kRowChannels;
    x_of_lane_ += kRowChannels;
    if (channel_ < channels_) return;
    channel_ = 0;
    const int kernel = work_.terms[term_].kernel;
    if (++right_ == kernel) {
      right_ = 0;
      if (++down_ == kernel) {
        if (++term_ == kMostTerms) return;
        begin_pointwise();
      }
    }
    see();
  }

 private:
  static constexpr int kFar = 1 << 30;

  /// The terms after the first see the output's own pixels.
  __device__ __forceinline__ void begin_pointwise() {
    down_ = right_ = 0;
#pragma unroll
    for (int i = 0; i < kCount; ++i) {
      image_[i] = row_ + 8 * i;
      y_[i] = image_[i] < work_.pixels.rows ? 0 : -kFar;
      x_[i] = 0;
    }
  }

  /// The pixels under the tap.
  __device__ __forceinline__ void see() {
    const Term<T>& term = work_.terms[term_];
    channels_ = term.channels;
    x_of_lane_ = term.x + channel_ + lane_channel();
    const int height = work_.pixels.height, width = work_.pixels.width, doubling = work_.doubling;
#pragma unroll
    for (int i = 0; i < kCount; ++i) {
      const int y = y_[i] + down_, x = x_[i] + right_;
      const bool inside = is_inside(y, x, height << doubling, width << doubling);
      at_[i] = inside ? (image_[i] + (y >> doubling) * width + (x >> doubling)) * channels_ : -1;
    }
  }

  const Work<T>& work_;
  const int row_;
  int image_[kCount], y_[kCount], x_[kCount];  // where the kernel's first tap lies
  int term_, down_, right_, channel_, channels_;
  const T* x_of_lane_;
  int at_[kCount];  // the pixel in the term's x; −1: zeros
};

}  // namespace nd::kernels::cuda::split_k
