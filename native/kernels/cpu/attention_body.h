// Included once per instruction set, inside its namespace, after its simd_*.h. No include guard: that is the point.

#include "kernels/cpu/exp_body.h"

using attention::kChunk;
using attention::kPanel;

/// Two vectors of the right factor and one value of the left leave room for this many rows.
constexpr int kMaxRows = (kRegisters - 3) / 2 < 14 ? (kRegisters - 3) / 2 : 14;
/// What one lane holds of every row, in whole vectors.
constexpr int kRowLanes = (kMaxRows + kWidth - 1) / kWidth * kWidth;
constexpr float kLowest = -__FLT_MAX__;

/// Where a tile's element lies.
ND_SIMD int64_t in_tile(int64_t row, int64_t column) {
  return (column / kChunk * kMaxRows + row) * kChunk + column % kChunk;
}

template <typename T>
ND_SIMD Vec load_some(const T* p, int64_t n) {
  return n >= kWidth ? load(p) : load_first(p, n);
}

template <typename T>
static void pack_keys(const T* keys, int64_t stride, int64_t count, int64_t head_dim, float* packed) {
  for (int64_t first = 0; first < count; first += kPanel) {
    const int64_t lanes = attention::panel_lanes(count - first);
    for (int64_t lane = 0; lane < lanes; lane += kWidth) {
      const int64_t left = count - first - lane;
      for (int64_t d = 0; d < head_dim; d += kWidth) {
        Vec v[kWidth];
        const T* from = keys + (first + lane) * stride + d;
        const int64_t n = head_dim - d < kWidth ? head_dim - d : kWidth;
        if (left >= kWidth && n == kWidth) {
#pragma GCC unroll 16
          for (int i = 0; i < kWidth; ++i) v[i] = load(from + i * stride);
        } else {
          for (int i = 0; i < kWidth; ++i) v[i] = i < left ? load_some(from + i * stride, n) : zero();
        }
        transpose(v);
        float* to = packed + d * lanes + lane;
        if (n == kWidth) {
#pragma GCC unroll 16
          for (int i = 0; i < kWidth; ++i) store(to + i * lanes, v[i]);
        } else {
          for (int i = 0; i < n; ++i) store(to + i * lanes, v[i]);
        }
      }
    }
    packed += lanes * head_dim;
  }
}

template <typename T>
static void pack_values(const T* values, int64_t stride, int64_t count, int64_t head_dim, float* packed) {
  for (int64_t first = 0; first < head_dim; first += kPanel) {
    const int64_t lanes = attention::panel_lanes(head_dim - first);
    for (int64_t i = 0; i < count; ++i) {
      for (int64_t lane = 0; lane < lanes; lane += kWidth) {
        const int64_t left = head_dim - first - lane;
        store(packed + lane, left > 0 ? load_some(values + i * stride + first + lane, left) : zero());
      }
      packed += lanes;
    }
  }
}

/// kRows rows by kVectors vectors of the product in registers, over the whole depth.
template <int kRows, int kVectors, int64_t kLanes>
static void block_product(const float* a, int64_t depth, const float* b, float* c) {
  Vec sums[kRows][kVectors];
#pragma GCC unroll 16
  for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 2
    for (int i = 0; i < kVectors; ++i) sums[r][i] = zero();
  }
  for (; depth > 0; depth -= kChunk, a += kMaxRows * kChunk) {
    const int64_t now = depth < kChunk ? depth : kChunk;
#pragma GCC unroll 4
    for (int64_t k = 0; k < now; ++k, b += kLanes) {
      Vec right[kVectors];
#pragma GCC unroll 2
      for (int i = 0; i < kVectors; ++i) right[i] = load(b + i * kWidth);
#pragma GCC unroll 16
      for (int r = 0; r < kRows; ++r) {
        const Vec value = set1(a[r * kChunk + k]);
#pragma GCC unroll 2
        for (int i = 0; i < kVectors; ++i) sums[r][i] = fma(value, right[i], sums[r][i]);
      }
    }
  }
#pragma GCC unroll 16
  for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 2
    for (int i = 0; i < kVectors; ++i) store(c + r * kChunk + i * kWidth, sums[r][i]);
  }
}

template <int kVectors, int64_t kLanes>
static void rows_product(int64_t rows, const float* a, int64_t depth, const float* b, float* c) {
  switch (rows) {
    case 1: return block_product<1, kVectors, kLanes>(a, depth, b, c);
    case 2: return block_product<2, kVectors, kLanes>(a, depth, b, c);
    case 3: return block_product<3, kVectors, kLanes>(a, depth, b, c);
    case 4: return block_product<4, kVectors, kLanes>(a, depth, b, c);
    case 5: return block_product<5, kVectors, kLanes>(a, depth, b, c);
    case 6: return block_product<6, kVectors, kLanes>(a, depth, b, c);
    default: break;
  }
  if constexpr (kMaxRows > 6) {
    switch (rows) {
      case 7: return block_product<7, kVectors, kLanes>(a, depth, b, c);
      case 8: return block_product<8, kVectors, kLanes>(a, depth, b, c);
      case 9: return block_product<9, kVectors, kLanes>(a, depth, b, c);
      case 10: return block_product<10, kVectors, kLanes>(a, depth, b, c);
      case 11: return block_product<11, kVectors, kLanes>(a, depth, b, c);
      case 12: return block_product<12, kVectors, kLanes>(a, depth, b, c);
      case 13: return block_product<13, kVectors, kLanes>(a, depth, b, c);
      default: return block_product<14, kVectors, kLanes>(a, depth, b, c);
    }
  }
}

template <int64_t kLanes>
static void panel_product(int64_t rows, const float* a, int64_t depth, const float* b, float* c) {
  constexpr int kVectors = kLanes / kWidth < 2 ? 1 : 2;
  for (int64_t lane = 0; lane < kLanes; lane += kVectors * kWidth) {
    rows_product<kVectors, kLanes>(rows, a, depth, b + lane, c + lane);
  }
}

/// A tile times packed panels. Each element is summed in the order of its depth, however many rows there are.
static void tile_product(int64_t rows, const float* a, int64_t depth, const float* b, int64_t columns, float* c) {
  for (int64_t column = 0; column < columns; column += kPanel, b += depth * kPanel) {
    if (attention::panel_lanes(columns - column) == kPanel) {
      panel_product<kPanel>(rows, a, depth, b, c + in_tile(0, column));
    } else {
      panel_product<kPanel / 2>(rows, a, depth, b, c + in_tile(0, column));
    }
  }
}

/// Every row's lanes into one value.
template <bool kSum>
ND_SIMD void reduce_rows(Vec v[kRowLanes], float* out) {
  for (int first = 0; first < kRowLanes; first += kWidth) {
    transpose(v + first);
#pragma GCC unroll 4
    for (int half = kWidth / 2; half > 0; half /= 2) {
#pragma GCC unroll 8
      for (int i = 0; i < half; ++i) {
        Vec& to = v[first + i];
        to = kSum ? add(to, v[first + i + half]) : larger(to, v[first + i + half]);
      }
    }
    store(out + first, v[first]);
  }
}

/// The highest score of each row, or of those before: never −∞, so that scores of −∞ get the weight 0.
static void find_highest(const float* scores, int64_t rows, int64_t keys, float* highest) {
  Vec high[kRowLanes];
  for (int r = 0; r < kRowLanes; ++r) high[r] = set1(kLowest);
  for (int64_t chunk = 0; chunk < keys; chunk += kChunk) {
    const int64_t now = keys - chunk < kChunk ? keys - chunk : kChunk;
    for (int64_t r = 0; r < rows; ++r) {
      const float* p = scores + in_tile(r, chunk);
      Vec v = high[r];
      for (int64_t i = 0; i < now; i += kWidth) v = larger(v, load(p + i));
      high[r] = v;
    }
  }
  reduce_rows<false>(high, highest);
}

/// Scores to exp((score − highest)·scale), and their sums.
static void exponentiate(float* scores, int64_t rows, int64_t keys, const float* highest, float scale, float* sums) {
  Vec total[kRowLanes];
  for (int r = 0; r < kRowLanes; ++r) total[r] = zero();
  for (int64_t chunk = 0; chunk < keys; chunk += kChunk) {
    const int64_t now = keys - chunk < kChunk ? keys - chunk : kChunk;
    for (int64_t r = 0; r < rows; ++r) {
      float* p = scores + in_tile(r, chunk);
      const Vec high = set1(highest[r]), factor = set1(scale);
      Vec sum = zero();
      for (int64_t i = 0; i < now; i += kWidth) {
        const Vec weight = exp(mul(sub(load(p + i), high), factor));
        store(p + i, weight);
        sum = add(sum, weight);
      }
      total[r] = add(total[r], sum);
    }
  }
  reduce_rows<true>(total, sums);
}

template <typename T>
static void step(const AttentionStep<T>& s) {
  for (int64_t r = 0; r < s.rows; ++r) {
    for (int64_t d = 0; d < s.head_dim; d += kWidth) {
      store(s.left + in_tile(r, d), load_some(s.queries + r * s.stride + d, s.head_dim - d));
    }
  }
  tile_product(s.rows, s.left, s.head_dim, s.packed_keys, s.keys, s.scores);
  for (int64_t key = s.keys; key % kWidth != 0; ++key) {
    for (int64_t r = 0; r < s.rows; ++r) s.scores[in_tile(r, key)] = -__builtin_inff();
  }

  const float scale = 1.0F / __builtin_sqrtf(static_cast<float>(s.head_dim));
  alignas(64) float highest[kRowLanes], weight[kRowLanes], fade[kRowLanes];
  find_highest(s.scores, s.rows, s.keys, highest);
  for (int r = 0; r < kRowLanes && !s.first; r += kWidth) {
    const Vec before = load(s.highest + r), now = larger(before, load(highest + r));
    store(highest + r, now);
    store(fade + r, exp(mul(sub(before, now), set1(scale))));
  }
  exponentiate(s.scores, s.rows, s.keys, highest, scale, weight);
  for (int r = 0; r < kRowLanes; r += kWidth) {
    const Vec sum = load(weight + r);
    store(s.weight + r, s.first ? sum : fma(load(s.weight + r), load(fade + r), sum));
    store(s.highest + r, load(highest + r));
  }

  tile_product(s.rows, s.scores, s.keys, s.packed_values, s.head_dim, s.first ? s.total : s.sums);
  if (s.first && !s.last) return;
  for (int64_t r = 0; r < s.rows; ++r) {
    const Vec inverse = div(set1(1.0F), set1(s.weight[r]));
    for (int64_t d = 0; d < s.head_dim; d += kWidth) {
      float* total = s.total + in_tile(r, d);
      Vec v = load(total);
      if (!s.first) v = fma(v, set1(fade[r]), load(s.sums + in_tile(r, d)));
      if (!s.last) {
        store(total, v);
      } else if (s.head_dim - d >= kWidth) {
        store(s.out + r * s.out_stride + d, mul(v, inverse));
      } else {
        store_first(s.out + r * s.out_stride + d, mul(v, inverse), s.head_dim - d);
      }
    }
  }
}

extern const AttentionKernels<float> attention_f32;
extern const AttentionKernels<uint16_t> attention_bf16;
const AttentionKernels<float> attention_f32{kMaxRows, &pack_keys<float>, &pack_values<float>, &step<float>};
const AttentionKernels<uint16_t> attention_bf16{kMaxRows, &pack_keys<uint16_t>, &pack_values<uint16_t>,
                                                &step<uint16_t>};
