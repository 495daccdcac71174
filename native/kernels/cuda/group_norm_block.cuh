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
  int parts_of_group;
  Divisor by_parts;
  Moments* moments;  // [batch, chunks, groups]; null where an image is one chunk
};

/// A cluster's piece of work, and the block's place in it.
struct Piece {
  int sample, chunk, first_group, first_channel, first_pixel;
  int groups, channels, pixels;
  int rank;

  /// Slices side by side first: they share cache lines. `backwards`: the last image first. Where a batch is larger than the
  /// cache, what the kernel before did last is still near, and so is what the next one begins with.
  template <typename T>
  __device__ Piece(const Work<T>& work, uint32_t index, bool backwards) {
    const Slices& s = work.slices;
    const int block = static_cast<int>(index), in_turn = quotient(block, s.by_cluster);
    rank = block - in_turn * s.cluster;
    const int item = backwards ? quotient(static_cast<int>(gridDim.x) - 1, s.by_cluster) - in_turn : in_turn;
    const int of_slices = quotient(item, s.by_slices), slice = item - of_slices * s.slices;
    sample = quotient(of_slices, s.by_chunks);
    chunk = of_slices - sample * s.chunks;
    first_group = slice * s.slice_groups;
    first_channel = first_group * s.group_channels;
    first_pixel = chunk * s.chunk_pixels;
    groups = min(s.slice_groups, static_cast<int>(work.shape.groups) - first_group);
    channels = groups * s.group_channels;
    pixels = min(s.chunk_pixels, static_cast<int>(work.shape.pixels) - first_pixel);
  }
};

/// A thread's place in a piece: one vector's channels, at every pixel that is as many rows further as the cluster has. Its channels
/// fall into kParts parts, each of one group.
template <typename T, int kVector, int kParts>
struct Place {
  static constexpr int kPartChannels = kVector / kParts;

  int row, column, channel;
  int cluster_rows;
  int left;    // pixels from its first one on; 0: it fills up the block
  const T* x;  // at its first pixel
  T* y;
  int x_step, y_step;  // from one of its pixels to the next

  __device__ Place(const Work<T>& work, const Piece& piece) {
    const int thread = static_cast<int>(threadIdx.x);
    row = quotient(thread, work.slices.by_columns);
    const int of_cluster = piece.rank * work.slices.rows + row;
    cluster_rows = work.slices.cluster * work.slices.rows;
    column = thread - row * work.slices.columns;
    channel = piece.first_channel + column * kVector;
    left = row < work.slices.rows && column * kVector < piece.channels ? max(piece.pixels - of_cluster, 0) : 0;
    const int channels = static_cast<int>(work.shape.channels), first = static_cast<int>(work.first_channels);
    const int64_t pixel = piece.sample * work.shape.pixels + piece.first_pixel + of_cluster;
    const bool in_first = channel < first || left == 0;
    const int width = in_first ? first : channels - first;
    x = (in_first ? work.x + channel : work.second + (channel - first)) + pixel * width;
    y = work.y + pixel * channels + channel;
    x_step = cluster_rows * width;
    y_step = cluster_rows * channels;
  }
};

/// kCount neighbours of a row of floats, aligned to 16 bytes where there are several.
template <int kCount>
__device__ __forceinline__ void load_floats(const float* from, float (&v)[kCount]) {
  static_assert(kCount == 1 || kCount % 4 == 0);
  if constexpr (kCount == 1) {
    v[0] = *from;
  } else {
#pragma unroll
    for (int i = 0; i < kCount; i += 4) load_four(from + i, v + i);
  }
}

/// The sum of value(first) … value(first + kCount − 1), by pairs.
template <int kCount, typename Value>
__device__ __forceinline__ float pairwise(const Value& value, int first) {
  if constexpr (kCount == 1) {
    return value(first);
  } else {
    return pairwise<kCount / 2>(value, first) + pairwise<kCount - kCount / 2>(value, first + kCount / 2);
  }
}

/// visit(a group of the slice, the lane) by 2^lane_bits neighbours of a warp for each group; whole warps come, with groups that the
/// slice does not have among them.
template <typename Visit>
__device__ __forceinline__ void each_group(const Slices& s, const Piece& piece, int lane_bits, const Visit& visit) {
  const int thread = static_cast<int>(threadIdx.x), in_warp = thread % kWarp;
  for (int first = (thread - in_warp) >> lane_bits; first < piece.groups; first += s.threads >> lane_bits) {
    visit(first + (in_warp >> lane_bits), in_warp & ((1 << lane_bits) - 1));
  }
}

/// The sums over 2^lane_bits neighbours, to each of them: by pairs, then of pairs.
template <int kSums>
__device__ __forceinline__ void sum_lanes(float (&sum)[kSums], int lane_bits) {
  for (int other = 1; other < 1 << lane_bits; other *= 2) {
#pragma unroll
    for (int n = 0; n < kSums; ++n) sum[n] += __shfl_xor_sync(~0U, sum[n], other);
  }
}

/// finish(group, lane, sums) for every group of the slice, by kMostCluster lanes of each block, with the sums over the cluster. Rows
/// are summed by pairs, then pairs of them, to the end; which are in one warp or block makes no difference. scratch: kSums·kParts floats
/// for each thread; of_blocks: kSums for each group, which others of the cluster may still read afterwards: another call
/// wants another place.
template <int kParts, int kSums, typename T, typename Finish>
__device__ __forceinline__ void sum_groups(const Work<T>& work, const Piece& piece, int column, float (&sums)[kParts][kSums],
                                           float* scratch, float* of_blocks, const Finish& finish) {
  const Slices& s = work.slices;
  const int thread = static_cast<int>(threadIdx.x), width = s.columns * kParts;
  // 1. the rows of a warp
  for (int other = s.columns; other < kWarp; other *= 2) {
#pragma unroll
    for (int k = 0; k < kParts; ++k) {
#pragma unroll
      for (int n = 0; n < kSums; ++n) sums[k][n] += __shfl_xor_sync(~0U, sums[k][n], other);
    }
  }
  const bool shares = s.columns < kWarp;
  const int line = shares ? thread / kWarp : quotient(thread, s.by_columns);
  if (shares ? thread % kWarp < s.columns : line < s.rows) {
#pragma unroll
    for (int k = 0; k < kParts; ++k) {
#pragma unroll
      for (int n = 0; n < kSums; ++n) scratch[(line * width + column * kParts + k) * kSums + n] = sums[k][n];
    }
  }
  __syncthreads();
  // 2. a group's parts in all lines
  const int lines = s.lines, lane_bits = lines > 8 ? 5 : 3;
  each_group(s, piece, lane_bits, [&](int group, int lane) {
    float sum[kSums] = {};
    for (int at = lane; at < lines && group < piece.groups; at += 1 << lane_bits) {
      const float* of_line = scratch + (at * width + group * work.parts_of_group) * kSums;
      for (int part = 0; part < work.parts_of_group; ++part) {
#pragma unroll
        for (int n = 0; n < kSums; ++n) sum[n] += of_line[part * kSums + n];
      }
    }
    sum_lanes(sum, lane_bits);
    if (group >= piece.groups || lane != 0) return;
#pragma unroll
    for (int n = 0; n < kSums; ++n) of_blocks[group * kSums + n] = sum[n];
  });
  // 3. the cluster's blocks
  if (s.cluster > 1) cluster_meet();
  else __syncthreads();
  each_group(s, piece, kClusterBits, [&](int group, int lane) {
    float sum[kSums] = {};
    if (group < piece.groups && lane < s.cluster) {
#pragma unroll
      for (int n = 0; n < kSums; ++n) sum[n] = read_of_block(of_blocks + group * kSums + n, lane);
    }
    sum_lanes(sum, kClusterBits);
    if (group < piece.groups) finish(group, lane, sum);
  });
  __syncthreads();
}

/// v / (1 + e⁻ᵛ), as exact as T shows.
template <typename T>
__device__ __forceinline__ float silu(float v) {
  if constexpr (sizeof(T) == 2) {
    return v * fast_reciprocal(1.0F + fast_exp2(-1.44269504F * v));  // e⁻ᵛ = 2^(−v·log₂ e)
  } else {
    return v / (1.0F + expf(-v));
  }
}

/// y = (x + shift)·factor + offset, by channels of a slice. For halves x·factor + offset is exact enough, with the shift in the
/// offset. Before the sums are known: y = (x + shift − mean)/deviation·factor + offset.
template <typename T>
struct Affine {
  static constexpr bool kFolded = sizeof(T) == 2;
  float *factor, *offset, *shift;  // in shared memory

  __device__ Affine(float* memory, const Slices& s)
      : factor(memory), offset(memory + s.slice_channels), shift(memory + 2 * s.slice_channels) {}

  /// A lane's channels of a group whose mean is pivot + correction.
  __device__ __forceinline__ void finish(const Slices& s, int group, int lane, int lanes, float pivot, float correction,
                                         float inverse_deviation) const {
#pragma unroll 1
    for (int i = lane; i < s.group_channels; i += lanes) {
      const int at = group * s.group_channels + i;
      const float f = factor[at] * inverse_deviation, to_mean = shift[at] - pivot;
      factor[at] = f;
      offset[at] = fmaf(kFolded ? to_mean - correction : -correction, f, offset[at]);
      if (!kFolded) shift[at] = to_mean;
    }
  }
};

/// What is known before the sums, by all threads: the slice's factors; and with kPart > 0 each group's pivot, the mean of its first
/// kPart channels in one pixel of the piece, with what is added to them.
template <int kPart, typename T>
__device__ __forceinline__ void begin(const Work<T>& work, const Piece& piece, const Affine<T>& affine, float* pivots) {
  const GroupNormParameters& p = work.parameters;
  const int channels = static_cast<int>(work.shape.channels), first = static_cast<int>(work.first_channels);
  const int64_t pixel = piece.sample * work.shape.pixels + piece.first_pixel + min(work.slices.pivot_pixel, piece.pixels - 1);
  const int thread = static_cast<int>(threadIdx.x), in_warp = thread % kWarp;
#pragma unroll 1
  for (int of_warp = thread - in_warp; of_warp < piece.channels; of_warp += work.slices.threads) {
    const int at = of_warp + in_warp, channel = piece.first_channel + at;
    float v[1] = {};
    if (at < piece.channels) {
      if constexpr (kPart > 0) {
        load(channel < first ? work.x + pixel * first + channel : work.second + pixel * (channels - first) + (channel - first), v);
      }
      float f = p.gamma == nullptr ? 1.0F : p.gamma[channel], o = p.beta == nullptr ? 0.0F : p.beta[channel];
      const float added = work.add == nullptr ? 0.0F : work.add[piece.sample * work.add_stride + channel];
      if (p.scale != nullptr) {
        const int64_t modulated = piece.sample * p.modulation_stride + channel;
        const float scale = 1.0F + p.scale[modulated];
        f *= scale;
        o = fmaf(o, scale, p.shift[modulated]);
      }
      affine.factor[at] = f, affine.offset[at] = o, affine.shift[at] = added;
      v[0] += added;
    }
    if constexpr (kPart > 0) {
      sum_lanes(v, kPart == 8 ? 3 : kPart == 4 ? 2 : 0);
      const int group = quotient(at / kPart, work.by_parts);
      if (at < piece.channels && at == group * work.slices.group_channels) pivots[group] = v[0] / static_cast<float>(kPart);
    }
  }
}

/// Up to four of a vector's channels of it: more would take too many registers.
template <typename T, int kVector>
struct AffinePart {
  static constexpr int kCount = kVector < 4 ? kVector : 4, kAll = kVector / kCount;
  static constexpr bool kFolded = Affine<T>::kFolded;
  float factor[kCount], offset[kCount], shift[kCount];

  __device__ AffinePart(const Affine<T>& of, int column, int part) {
    const int first = column * kVector + part * kCount;
    load_floats(of.factor + first, factor);
    load_floats(of.offset + first, offset);
    if (!kFolded) load_floats(of.shift + first, shift);
  }
  __device__ __forceinline__ float operator()(float v, int i) const {
    return fmaf(kFolded ? v : v + shift[i], factor[i], offset[i]);
  }
};

/// write(a function of v): v's SiLU, or v.
template <typename T, typename Write>
__device__ __forceinline__ void activated(NormActivation activation, const Write& write) {
  if (activation == NormActivation::silu) {
    write([](float v) { return silu<T>(v); });
  } else {
    write([](float v) { return v; });
  }
}

}  // namespace nd::kernels::cuda
