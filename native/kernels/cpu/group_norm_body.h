// Included once per instruction set, inside its namespace, after its simd_*.h. No include guard: that is the point.

#include "kernels/cpu/exp_body.h"

/// v / (1 + e⁻ᵛ): −0 far below zero, NaN at −∞, as torch has it.
ND_SIMD Vec silu(Vec v) { return div(v, add(set1(1.0F), exp(sub(zero(), v)))); }

/// Rows whose values of one vector of channels stay in registers, so that one read serves the mean and the squares.
constexpr int kBlock = kRegisters / 2;

/// The first `n` lanes of kBlock or fewer rows: mean, and Σ(x − mean)².
template <bool kWhole, typename T>
ND_SIMD void block_moments(const T* x, int64_t stride, int rows, int64_t n, Vec& mean, Vec& squares) {
  Vec v[kBlock], sum[kBlock];
  if (rows == kBlock) {
#pragma GCC unroll 16
    for (int i = 0; i < kBlock; ++i) sum[i] = v[i] = kWhole ? load(x + i * stride) : load_first(x + i * stride, n);
    // A tree of sums: its rounding error grows with log(kBlock).
#pragma GCC unroll 16
    for (int width = kBlock / 2; width > 0; width /= 2) {
#pragma GCC unroll 16
      for (int i = 0; i < width; ++i) sum[i] = add(sum[i], sum[i + width]);
    }
    mean = mul(sum[0], set1(1.0F / kBlock));
    Vec even = zero(), odd = zero();
#pragma GCC unroll 16
    for (int i = 0; i < kBlock; i += 2) {
      const Vec d0 = sub(v[i], mean), d1 = sub(v[i + 1], mean);
      even = fma(d0, d0, even);
      odd = fma(d1, d1, odd);
    }
    squares = add(even, odd);
    return;
  }
  Vec total = zero();
  for (int i = 0; i < rows; ++i) total = add(total, kWhole ? load(x + i * stride) : load_first(x + i * stride, n));
  mean = div(total, set1(static_cast<float>(rows)));
  squares = zero();
  for (int i = 0; i < rows; ++i) {
    const Vec d = sub(kWhole ? load(x + i * stride) : load_first(x + i * stride, n), mean);
    squares = fma(d, d, squares);
  }
}

template <bool kWhole, typename T>
ND_SIMD void channel_moments(const T* x, int64_t stride, int64_t pixels, int64_t n, float* mean_out,
                             float* squares_out) {
  Vec mean = zero(), squares = zero();
  for (int64_t done = 0; done < pixels;) {
    const int rows = static_cast<int>(pixels - done < kBlock ? pixels - done : kBlock);
    Vec block_mean, block_squares;
    block_moments<kWhole>(x + done * stride, stride, rows, n, block_mean, block_squares);
    // Chan, Golub & LeVeque 1979: two sets' moments into one's.
    const float share = static_cast<float>(rows) / static_cast<float>(done + rows);
    const Vec delta = sub(block_mean, mean);
    mean = fma(delta, set1(share), mean);
    squares = add(squares, fma(mul(delta, delta), set1(static_cast<float>(done) * share), block_squares));
    done += rows;
  }
  if (kWhole) {
    store(mean_out, mean);
    store(squares_out, squares);
  } else {
    store_first(mean_out, mean, n);
    store_first(squares_out, squares, n);
  }
}

template <typename T>
static void moments(const T* x, int64_t pixels, int64_t channels, float* mean, float* squares) {
  int64_t c = 0;
  for (; c + kWidth <= channels; c += kWidth) {
    channel_moments<true>(x + c, channels, pixels, kWidth, mean + c, squares + c);
  }
  if (c < channels) channel_moments<false>(x + c, channels, pixels, channels - c, mean + c, squares + c);
}

template <bool kSilu, typename T>
ND_SIMD void apply_rows(const T* x, T* y, int64_t pixels, int64_t channels, const float* a, const float* b) {
  for (int64_t i = 0; i < pixels; ++i, x += channels, y += channels) {
    int64_t c = 0;
    for (; c + kWidth <= channels; c += kWidth) {
      const Vec v = fma(load(x + c), load(a + c), load(b + c));
      store(y + c, kSilu ? silu(v) : v);
    }
    if (c < channels) {
      const int64_t n = channels - c;
      const Vec v = fma(load_first(x + c, n), load_first(a + c, n), load_first(b + c, n));
      store_first(y + c, kSilu ? silu(v) : v, n);
    }
  }
}

template <typename T>
static void apply(const T* x, T* y, int64_t pixels, int64_t channels, const float* a, const float* b, bool with_silu) {
  if (with_silu) {
    apply_rows<true>(x, y, pixels, channels, a, b);
  } else {
    apply_rows<false>(x, y, pixels, channels, a, b);
  }
}

extern const GroupNormKernels<float> group_norm_f32;
extern const GroupNormKernels<uint16_t> group_norm_bf16;
const GroupNormKernels<float> group_norm_f32{&moments<float>, &apply<float>};
const GroupNormKernels<uint16_t> group_norm_bf16{&moments<uint16_t>, &apply<uint16_t>};
