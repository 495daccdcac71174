#pragma once

#include "kernels/cuda/elements.cuh"
#include "kernels/cuda/group_norm_slices.h"

/// What group_norm's kernels share.
namespace nd::kernels::cuda {

/// What the kernels get.
template <typename T>
struct Work {
  const T* x;
  T* y;
  GroupNormShape shape;
  GroupNormParameters parameters;
  const float* add;
  int64_t add_stride;
  Slices slices;
  Moments* moments;  // [batch, chunks, groups]; null where a block has all pixels

  __host__ __device__ int64_t items() const { return shape.batch * slices.chunks * slices.slices; }
};

/// A block's piece of work.
struct Piece {
  int64_t sample, chunk, first_group, first_channel, first_element;
  int groups, group_channels, channels, pixels;

  /// Slices side by side first: they share cache lines.
  template <typename T>
  __device__ Piece(const Work<T>& work, int64_t item) {
    const Slices& s = work.slices;
    const int64_t slice = item % s.slices;
    chunk = item / s.slices % s.chunks;
    sample = item / s.slices / s.chunks;
    first_group = slice * s.slice_groups;
    first_channel = first_group * s.group_channels;
    const int64_t first_pixel = chunk * s.chunk_pixels;
    first_element = (sample * work.shape.pixels + first_pixel) * work.shape.channels + first_channel;
    groups = static_cast<int>(min(s.slice_groups, work.shape.groups - first_group));
    group_channels = static_cast<int>(s.group_channels);
    channels = groups * group_channels;
    pixels = static_cast<int>(min(s.chunk_pixels, work.shape.pixels - first_pixel));
  }
};

/// A thread's vectors: one column of them, a pixel every `rows`. Where a slice has more columns than the block has
/// threads, the kernels go on to column + columns.
template <int kVector>
struct Columns {
  int vectors, columns, rows, row, column;

  __device__ explicit Columns(int channels) : vectors(channels / kVector) {
    const int threads = static_cast<int>(blockDim.x), thread = static_cast<int>(threadIdx.x);
    columns = min(vectors, threads);
    rows = threads / columns;
    row = thread / columns;
    column = thread % columns;
  }
};

template <int kVector, typename T>
__device__ __forceinline__ void load_added(const Work<T>& work, const Piece& piece, int channel,
                                           float (&added)[kVector]) {
  if (work.add != nullptr) {
    load_row(work.add + piece.sample * work.add_stride + piece.first_channel + channel, added);
    return;
  }
#pragma unroll
  for (int i = 0; i < kVector; ++i) added[i] = 0.0F;
}

/// to[column·kParts + part]: the sums over the rows. In an order that is the shape's: each of a few teams takes every
/// teams-th row, then one thread the teams.
template <int kParts, int kVector>
__device__ __forceinline__ void reduce(const Columns<kVector>& c, const Sums (&sums)[kParts], Sums* scratch, Sums* to,
                                       int to_count) {
  constexpr int team_rows = 16;
  const int width = c.columns * kParts, teams = (c.rows + team_rows - 1) / team_rows;
  const int threads = static_cast<int>(blockDim.x), thread = static_cast<int>(threadIdx.x);
  if (c.row < c.rows) {
#pragma unroll
    for (int k = 0; k < kParts; ++k) scratch[c.row * width + c.column * kParts + k] = sums[k];
  }
  __syncthreads();
  const auto add_up = [&](int first, int end, int stride) {
    Sums sum{0.0F, 0.0F};
    for (int i = first; i < end; i += stride) sum.first += scratch[i].first, sum.second += scratch[i].second;
    return sum;
  };
  for (int i = thread; i < teams * width; i += threads) scratch[i] = add_up(i, c.rows * width, teams * width);
  __syncthreads();
  for (int i = thread; i < width && i < to_count; i += threads) to[i] = add_up(i, teams * width, width);
  __syncthreads();
}

/// Of a group, whose parts lie side by side.
__device__ __forceinline__ Sums sum_of_group(const Sums* parts, int group, int parts_of_group) {
  Sums sum{0.0F, 0.0F};
  for (int i = 0; i < parts_of_group; ++i) {
    sum.first += parts[group * parts_of_group + i].first;
    sum.second += parts[group * parts_of_group + i].second;
  }
  return sum;
}

/// Fills channels[] from groups[].
template <typename T>
__device__ __forceinline__ void make_affine(const Work<T>& work, const Piece& piece, const GroupStatistics* groups,
                                            Affine* channels) {
  const GroupNormParameters& p = work.parameters;
  for (int i = static_cast<int>(threadIdx.x); i < piece.channels; i += static_cast<int>(blockDim.x)) {
    const GroupStatistics& group = groups[i / piece.group_channels];
    const int64_t c = piece.first_channel + i;
    float factor = group.inverse_deviation * (p.gamma == nullptr ? 1.0F : p.gamma[c]);
    float offset = p.beta == nullptr ? 0.0F : p.beta[c];
    if (p.scale != nullptr) {
      const int64_t at = piece.sample * p.modulation_stride + c;
      const float modulation = 1.0F + p.scale[at];
      factor *= modulation;
      offset = fmaf(offset, modulation, p.shift[at]);
    }
    channels[i] = {group.mean, factor, fmaf(-group.correction, factor, offset),
                   work.add == nullptr ? 0.0F : work.add[piece.sample * work.add_stride + c]};
  }
  __syncthreads();
}

/// v / (1 + e⁻ᵛ), as exact as T shows.
template <typename T>
__device__ __forceinline__ float silu(float v) {
  if constexpr (sizeof(T) == 2) return __fdividef(v, 1.0F + __expf(-v));
  return v / (1.0F + expf(-v));
}

/// One column's y from x, both with a stride in elements between pixels.
template <typename T, int kVector>
__device__ __forceinline__ void normalise_column(const Columns<kVector>& c, const T* x, int64_t x_stride, T* y,
                                                 int64_t y_stride, int pixels, const Affine* channels, bool with_silu) {
  Affine affine[kVector];
#pragma unroll
  for (int i = 0; i < kVector; ++i) affine[i] = channels[i];
#pragma unroll 2
  for (int pixel = c.row; pixel < pixels; pixel += c.rows) {
    float v[kVector];
    load(x + pixel * x_stride, v);
#pragma unroll
    for (int i = 0; i < kVector; ++i) {
      v[i] = fmaf(v[i] + affine[i].added - affine[i].mean, affine[i].factor, affine[i].offset);
      if (with_silu) v[i] = silu<T>(v[i]);
    }
    store(y + pixel * y_stride, v);
  }
}

}  // namespace nd::kernels::cuda
