#pragma once

#include <algorithm>
#include <cstdint>
#include <numeric>

#include "kernels/cuda/kernels.h"

/// How group_norm cuts its work: a block has whole groups of a sample, over all pixels or a chunk of them. Depends on
/// the shape and the device alone, and so does the order of a sample's sums.
namespace nd::kernels::cuda {

struct Slices {
  int64_t group_channels;
  int64_t slice_groups, slice_channels, slices;  // the last slice may have fewer
  int64_t chunk_pixels, chunks;  // the last chunk may have fewer pixels
};

/// What a chunk's group has: Σ over its pixels and channels.
struct Moments {
  float mean, squares;  // squares: Σ(x − mean)²
};

/// A channel of a slice: y = act((x + added − mean)·factor + offset).
struct alignas(16) Affine {
  float mean, factor, offset, added;
};
struct Sums {
  float first, second;
};
struct GroupStatistics {
  float mean, correction, inverse_deviation;  // the mean is mean + correction
};

constexpr int kMostThreads = 256;
constexpr int64_t kMostParts = 8;

/// A block's shared memory: tile, channels, sums of parts, sums of threads, groups.
constexpr int64_t shared_bytes(int64_t tile_bytes, int64_t channels, int64_t groups, int64_t threads, int64_t parts) {
  return (tile_bytes + 15) / 16 * 16 + channels * static_cast<int64_t>(sizeof(Affine) + sizeof(Sums)) +
         threads * parts * static_cast<int64_t>(sizeof(Sums)) + groups * static_cast<int64_t>(sizeof(GroupStatistics));
}

/// Groups that are together at least `bytes` of a pixel, in whole sectors of 32 bytes where that goes.
inline int64_t groups_of_width(int64_t bytes, int64_t group_bytes, int64_t groups) {
  const int64_t whole = 32 / std::gcd(group_bytes, int64_t{32});
  return std::min((bytes + group_bytes * whole - 1) / (group_bytes * whole) * whole, groups);
}

/// All pixels a block if `limit` bytes of shared memory hold them, read once and written once. Else chunks.
inline Slices slices_of(GroupNormShape shape, int64_t element_bytes, int64_t limit) {
  constexpr int64_t chunk_bytes = 32 << 10;
  Slices s{};
  s.group_channels = shape.channels / shape.groups;
  const auto cut = [&](int64_t width, int64_t most_bytes) {
    s.slice_groups = groups_of_width(width, s.group_channels * element_bytes, shape.groups);
    s.slice_channels = s.slice_groups * s.group_channels;
    s.slices = (shape.groups + s.slice_groups - 1) / s.slice_groups;
    const int64_t fixed = shared_bytes(16, s.slice_channels, s.slice_groups, kMostThreads, kMostParts);
    const int64_t pixels = std::min(limit - fixed, most_bytes) / (s.slice_channels * element_bytes);
    s.chunk_pixels = std::clamp<int64_t>(pixels, 1, shape.pixels);
    s.chunks = (shape.pixels + s.chunk_pixels - 1) / s.chunk_pixels;
  };
  cut(32, limit);
  if (s.chunks > 1) cut(64, chunk_bytes);
  return s;
}

}  // namespace nd::kernels::cuda
