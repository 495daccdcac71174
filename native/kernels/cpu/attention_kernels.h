#pragma once

#include "kernels/attention.h"
#include "kernels/cpu/isa.h"
#include "kernels/cpu/rounding.h"

namespace nd::kernels {

/// How things lie, in floats. The right factor of a product, depth×columns, lies in panels [columns / kPanel][depth]
/// [kPanel], zero beyond its columns, the last panel kPanel / 2 wide where that suffices. The left one and the result
/// are tiles of a few rows, [columns / kChunk][tile_rows][kChunk].
namespace attention {
constexpr int64_t kPanel = 32, kChunk = 64;
constexpr int64_t panel_lanes(int64_t columns_left) { return columns_left <= kPanel / 2 ? kPanel / 2 : kPanel; }
}  // namespace attention

/// Some queries against a block of keys.
template <typename T>
struct AttentionStep {
  const T* queries;     // `stride` apart
  T* out;               // `out_stride` apart
  int64_t stride, out_stride;
  int64_t rows;         // ≤ tile_rows
  int64_t head_dim;
  int64_t keys;         // of this block
  const float* packed_keys;
  const float* packed_values;
  float* left;          // tiles: queries,
  float* scores;        // their scores, then weights,
  float* sums;          // and weights·values of this block where it isn't the first
  float* total;         // a tile of these queries' own, from block to block
  float* highest;       // [tile_rows] likewise: the highest score so far,
  float* weight;        // [tile_rows] and Σ exp(score − highest)
  bool first, last;     // block of keys
};

/// The phases, once per instruction set. One thread each.
template <typename T>
struct AttentionKernels {
  int64_t tile_rows;
  /// Kᵀ in panels of keys.
  void (*pack_keys)(const T* keys, int64_t stride, int64_t count, int64_t head_dim, float* packed);
  /// V in panels of its columns.
  void (*pack_values)(const T* values, int64_t stride, int64_t count, int64_t head_dim, float* packed);
  /// One block of the softmax on the run (Milakov & Gimelshein 2018, algorithm 3; Dao et al. 2022, algorithm 1).
  void (*step)(const AttentionStep<T>& step);
};

namespace portable {
extern const AttentionKernels<float> attention_f32;
extern const AttentionKernels<uint16_t> attention_bf16;
}
#if defined(__x86_64__)
namespace avx2 {
extern const AttentionKernels<float> attention_f32;
extern const AttentionKernels<uint16_t> attention_bf16;
}
namespace avx512 {
extern const AttentionKernels<float> attention_f32;
extern const AttentionKernels<uint16_t> attention_bf16;
}
#endif

/// attention_nhwc on a chosen instruction set, for tests.
template <typename T>
void attention_on(Isa isa, const T* qkv, T* out, AttentionShape shape, Scratch& scratch);

}  // namespace nd::kernels
