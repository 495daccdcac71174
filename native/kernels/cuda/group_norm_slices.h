#pragma once

#include <algorithm>
#include <bit>
#include <cstdint>
#include <numeric>

#include "kernels/cuda/kernels.h"

/// How group_norm cuts its work: a block has whole groups of a sample, over all pixels or a chunk of them, and holds them in its
/// threads' registers. Depends on the shape alone, and so does the order of a sample's sums.
namespace nd::kernels::cuda {

/// What a chunk's group has: Σ over its pixels and channels.
struct Moments {
  float mean, squares;  // squares: Σ(x − mean)²
};

struct GroupStatistics {
  float mean, correction, inverse_deviation;  // the mean is mean + correction
};

constexpr int kWarp = 32, kMostThreads = 1024;
/// Pixels that a thread holds: a few where that is enough, for more threads are ready sooner.
constexpr int kFewPixels = 4, kManyPixels = 8;

struct Slices {
  int group_channels;
  int slice_groups, slices;  // the last slice may have fewer groups
  int chunk_pixels, chunks;  // the last chunk may have fewer pixels; 0: a group is wider than a block
  int columns;  // of threads: a pixel's vectors, filled up to a power of two where several pixels share a warp
  int rows, held, threads;  // of threads, pixels that each of them holds, threads in all
};

/// Groups that are together at least `bytes` of a pixel and begin where a vector does.
inline int64_t groups_of_width(int64_t bytes, int64_t group_bytes, int64_t vector_bytes, int64_t groups) {
  const int64_t whole = vector_bytes / std::gcd(group_bytes, vector_bytes);
  return std::min((bytes + group_bytes * whole - 1) / (group_bytes * whole) * whole, groups);
}

/// `vector`: channels of an access. `most_pixels`: of a chunk, 0: as many as a block holds.
inline Slices slices_of(GroupNormShape shape, int64_t element_bytes, int64_t vector, int64_t most_pixels) {
  Slices s{};
  const int64_t group_channels = shape.channels / shape.groups;
  s.group_channels = static_cast<int>(group_channels);
  const auto widen = [&](int64_t bytes) {
    const int64_t groups = groups_of_width(bytes, group_channels * element_bytes, vector * element_bytes, shape.groups);
    const auto vectors = static_cast<uint64_t>(groups * group_channels / vector);
    s.slice_groups = static_cast<int>(groups);
    s.slices = static_cast<int>((shape.groups + groups - 1) / groups);
    s.columns = static_cast<int>(vectors <= kWarp ? std::bit_ceil(vectors) : vectors);
  };
  // A sector of 32 bytes at least; of small images more, until a block has some warps.
  constexpr int64_t few_vectors = 256;
  int64_t bytes = 32;
  for (widen(bytes); s.columns * shape.pixels < few_vectors && s.slice_groups < shape.groups; widen(bytes)) bytes *= 2;
  const auto most = [&](int threads) { return int64_t{threads / s.columns} * kManyPixels; };
  int64_t pixels = most(kMostThreads);
  if (shape.pixels > pixels || (most_pixels > 0 && shape.pixels > most_pixels)) {
    widen(64);
    pixels = std::max(most(kMostThreads / 2), std::min<int64_t>(most(kMostThreads), kManyPixels));
    if (most_pixels > 0) pixels = std::min(pixels, most_pixels);
  }
  pixels = std::min(pixels, shape.pixels);
  s.chunk_pixels = static_cast<int>(pixels);
  if (pixels == 0) return s;
  s.chunks = static_cast<int>((shape.pixels + pixels - 1) / pixels);
  // Many pixels a thread where an SM would otherwise not take two blocks.
  for (const int held : {kFewPixels, kManyPixels}) {
    s.held = held;
    s.rows = (s.chunk_pixels + held - 1) / held;
    s.threads = (s.columns * s.rows + kWarp - 1) / kWarp * kWarp;
    if (s.threads <= kMostThreads / 2) break;
  }
  return s;
}

}  // namespace nd::kernels::cuda
