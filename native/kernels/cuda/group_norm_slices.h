#pragma once

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <numeric>

#include "kernels/cuda/divisor.h"
#include "kernels/cuda/kernels.h"

/// How group_norm cuts its work: a block has whole groups of a sample, over all pixels or a chunk of them, and holds them in its
/// threads' registers. Depends on the shape alone, and so does the order of a sample's sums.
namespace nd::kernels::cuda {

/// What a chunk's group has: Σ over its pixels and channels.
struct Moments {
  float mean, squares;  // squares: Σ(x − mean)²
};

struct GroupStatistics {
  float pivot, correction, inverse_deviation;  // the mean is pivot + correction
};

constexpr int kWarp = 32;
/// Pixels that a thread holds: as few as a block of some warps allows, for each costs the thread time, and each thread its own.
constexpr int kHeldPixels[] = {2, 4, 8}, kSomeThreads = 128;
/// Of a block; more for a group that is wider than that, whose threads hold fewer pixels.
constexpr int kMostThreads = 512, kMostHeld = 8, kMostWideThreads = 1024, kMostWideHeld = 4;

struct Slices {
  int group_channels;
  int slice_groups, slices;  // the last slice may have fewer groups
  int chunk_pixels, chunks;  // the last chunk may have fewer pixels; 0: a group is wider than a block
  int columns;  // of threads: a pixel's vectors, filled up to a power of two where several pixels share a warp
  int rows, held, threads;  // of threads, pixels that each of them holds, threads in all
  int pivot_pixel;  // of a chunk, if it has as many
  Divisor by_slices, by_chunks, by_columns;
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
  const auto most = [&] {
    const bool wide = s.columns > kMostThreads;
    return wide ? int64_t{kMostWideThreads / s.columns} * kMostWideHeld : int64_t{kMostThreads / s.columns} * kMostHeld;
  };
  int64_t pixels = most();
  if (shape.pixels > pixels || (most_pixels > 0 && shape.pixels > most_pixels)) {
    widen(64);
    pixels = most_pixels > 0 ? std::min(most(), most_pixels) : most();
  }
  pixels = std::min(pixels, shape.pixels);
  s.chunk_pixels = static_cast<int>(pixels);
  if (pixels == 0) return s;
  s.chunks = static_cast<int>((shape.pixels + pixels - 1) / pixels);
  // In the middle of a square image: an image's border is unlike the rest.
  s.pivot_pixel = static_cast<int>((static_cast<double>(pixels) + std::sqrt(static_cast<double>(pixels))) / 2);
  for (const int held : kHeldPixels) {
    s.held = held;
    s.rows = (s.chunk_pixels + held - 1) / held;
    s.threads = (s.columns * s.rows + kWarp - 1) / kWarp * kWarp;
    if (s.threads <= kSomeThreads || (s.columns > kMostThreads && held == kMostWideHeld)) break;
  }
  s.by_slices = divisor(s.slices), s.by_chunks = divisor(s.chunks), s.by_columns = divisor(s.columns);
  return s;
}

}  // namespace nd::kernels::cuda
