#pragma once

#include "kernels/cuda/elements.cuh"
#include "kernels/cuda/group_norm_slices.h"

/// What group_norm's kernels share.
namespace nd::kernels::cuda {

/// What the kernels get.
template <typename T>
struct Work {
  const T* x;
  const T* second;         // the channels from first_channels on
  int64_t first_channels;  // all of them where there is no second
  T* y;
  GroupNormShape shape;
  GroupNormParameters parameters;
  const float* add;
  int64_t add_stride;
  Slices slices;
  Moments* moments;  // [batch, chunks, groups]; null where a block has all pixels
};

/// A block's piece of work.
struct Piece {
  int sample, chunk, first_group, first_channel, first_pixel;
  int groups, channels, pixels;

  /// Slices side by side first: they share cache lines.
  template <typename T>
  __device__ explicit Piece(const Work<T>& work) {
    const Slices& s = work.slices;
    const int item = static_cast<int>(blockIdx.x), slice = item % s.slices;
    chunk = item / s.slices % s.chunks;
    sample = item / s.slices / s.chunks;
    first_group = slice * s.slice_groups;
    first_channel = first_group * s.group_channels;
    first_pixel = chunk * s.chunk_pixels;
    groups = min(s.slice_groups, static_cast<int>(work.shape.groups) - first_group);
    channels = groups * s.group_channels;
    pixels = min(s.chunk_pixels, static_cast<int>(work.shape.pixels) - first_pixel);
  }
};

/// A thread's place in a piece: one vector's channels, at every `rows`-th pixel. Its channels fall into kParts parts, each of
/// one group.
template <typename T, int kVector, int kParts>
struct Place {
  static constexpr int kPartChannels = kVector / kParts;

  int row, column;
  bool is_in;  // or it fills up the block
  int channel;
  const T* x;  // at its first pixel
  T* y;
  int x_step, y_step;  // from one of its pixels to the next

  __device__ Place(const Work<T>& work, const Piece& piece) {
    const int thread = static_cast<int>(threadIdx.x), rows = work.slices.rows;
    row = thread / work.slices.columns;
    column = thread % work.slices.columns;
    is_in = row < rows && column * kVector < piece.channels;
    channel = piece.first_channel + column * kVector;
    const int channels = static_cast<int>(work.shape.channels), first = static_cast<int>(work.first_channels);
    const int64_t pixel = piece.sample * work.shape.pixels + piece.first_pixel + row;
    const bool in_first = channel < first;
    const int width = in_first ? first : channels - first;
    x = (in_first ? work.x + channel : work.second + (channel - first)) + pixel * width;
    y = work.y + pixel * channels + channel;
    x_step = rows * width;
    y_step = rows * channels;
  }
  /// The group of channel i of its vector, in the slice.
  __device__ int group_of(int i, int parts_of_group) const { return (column * kParts + i / kPartChannels) / parts_of_group; }
};

template <int kVector, typename T>
__device__ __forceinline__ void load_added(const Work<T>& work, const Piece& piece, int channel,
                                           float (&added)[kVector]) {
  if (work.add != nullptr) {
    load_row(work.add + piece.sample * work.add_stride + channel, added);
    return;
  }
#pragma unroll
  for (int i = 0; i < kVector; ++i) added[i] = 0.0F;
}

/// Lanes that share a group's last sums.
constexpr int kTeam = 8;

/// finish(group, sums) for every group of the slice, by one thread each, with the sums over the block. In an order that is the
/// shape's. scratch: kSums·kParts floats for each thread.
template <int kParts, int kSums, typename Finish>
__device__ __forceinline__ void sum_groups(const Slices& slices, const Piece& piece, bool is_in, float (&sums)[kParts][kSums],
                                           float* scratch, int parts_of_group, const Finish& finish) {
  const int thread = static_cast<int>(threadIdx.x), lane = thread % kWarp;
  const int columns = slices.columns, width = columns * kParts;
  // 1. the pixels of a warp
  for (int other = kWarp / 2; other >= columns; other /= 2) {
#pragma unroll
    for (int k = 0; k < kParts; ++k) {
#pragma unroll
      for (int n = 0; n < kSums; ++n) sums[k][n] += __shfl_xor_sync(~0U, sums[k][n], other);
    }
  }
  const bool shares = columns < kWarp;
  const int lines = shares ? slices.threads / kWarp : slices.rows;  // of sums, each for all columns
  if (shares ? lane < columns : is_in) {
    const int line = shares ? thread / kWarp : thread / columns;
#pragma unroll
    for (int k = 0; k < kParts; ++k) {
#pragma unroll
      for (int n = 0; n < kSums; ++n) scratch[(line * width + thread % columns * kParts + k) * kSums + n] = sums[k][n];
    }
  }
  __syncthreads();
  // 2. a group's parts in all lines
  const int entries = lines * parts_of_group;
  for (int first = 0; first < piece.groups * kTeam; first += slices.threads) {
    const int group = (first + thread) / kTeam, member = thread % kTeam;
    float sum[kSums] = {};
    if (group < piece.groups) {
      for (int i = member; i < entries; i += kTeam) {
        const int at = i / parts_of_group * width + group * parts_of_group + i % parts_of_group;
#pragma unroll
        for (int n = 0; n < kSums; ++n) sum[n] += scratch[at * kSums + n];
      }
    }
#pragma unroll
    for (int other = kTeam / 2; other > 0; other /= 2) {
#pragma unroll
      for (int n = 0; n < kSums; ++n) sum[n] += __shfl_xor_sync(~0U, sum[n], other);
    }
    if (group < piece.groups && member == 0) finish(group, sum);
  }
  __syncthreads();
}

/// y = act((x + added − mean)·factor + offset) for a vector's channels.
template <typename T, int kVector, int kParts>
struct Affine {
  // For halves (x·factor + offset) is exact enough, with added and mean in the offset.
  static constexpr bool kFolded = sizeof(T) == 2;
  float shift[kVector], factor[kVector], offset[kVector];

  __device__ Affine(const Work<T>& work, const Piece& piece, const Place<T, kVector, kParts>& place,
                    const GroupStatistics* groups, int parts_of_group) {
    const GroupNormParameters& p = work.parameters;
    load_added(work, piece, place.channel, shift);
    load_or(p.gamma == nullptr ? nullptr : p.gamma + place.channel, 1.0F, factor);
    load_or(p.beta == nullptr ? nullptr : p.beta + place.channel, 0.0F, offset);
    if (p.scale != nullptr) {
      float scale[kVector], modulated[kVector];
      const int64_t at = piece.sample * p.modulation_stride + place.channel;
      load_row(p.scale + at, scale);
      load_row(p.shift + at, modulated);
#pragma unroll
      for (int i = 0; i < kVector; ++i) {
        factor[i] *= 1.0F + scale[i];
        offset[i] = fmaf(offset[i], 1.0F + scale[i], modulated[i]);
      }
    }
#pragma unroll
    for (int i = 0; i < kVector; ++i) {
      const GroupStatistics& group = groups[place.group_of(i, parts_of_group)];
      factor[i] *= group.inverse_deviation;
      shift[i] -= group.mean;
      offset[i] = fmaf(kFolded ? shift[i] - group.correction : -group.correction, factor[i], offset[i]);
    }
  }

  __device__ __forceinline__ static void load_or(const float* from, float otherwise, float (&v)[kVector]) {
    if (from != nullptr) return load_row(from, v);
#pragma unroll
    for (int i = 0; i < kVector; ++i) v[i] = otherwise;
  }

  __device__ __forceinline__ float operator()(float v, int i, bool with_silu) const {
    const float y = fmaf(kFolded ? v : v + shift[i], factor[i], offset[i]);
    if (!with_silu) return y;
    // y / (1 + e⁻ʸ), as exact as T shows
    if constexpr (sizeof(T) == 2) return __fdividef(y, 1.0F + __expf(-y));
    return y / (1.0F + expf(-y));
  }
};

}  // namespace nd::kernels::cuda
