#pragma once

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <initializer_list>
#include <numeric>
#include <optional>

#include "kernels/cuda/divisor.h"
#include "kernels/cuda/kernels.h"
#include "kernels/cuda/limits.h"

/// How group_norm cuts its work: a block, or the blocks of a cluster together, have whole groups of a sample, over all pixels or a
/// chunk of them, and hold them in their threads' registers. The order of a sample's sums depends on its shape and on the device
/// alone.
namespace nd::kernels::cuda {

/// What a chunk's group has: Σ over its pixels and channels.
struct Moments {
  float mean, squares;  // squares: Σ(x − mean)²
};

/// Pixels that a thread holds: as few as some rows of threads allow, for each costs the thread time, and each thread its own.
constexpr int kHeldPixels[] = {2, 4, 8}, kFewRows = 64, kFewThreads = 128;
/// Of a block; more for a group that is wider than that, whose threads hold fewer pixels.
constexpr int kMostThreads = 512, kMostHeld = 8, kMostWideThreads = 1024, kMostWideHeld = 4;
/// Of a block: so few that a small batch has many, as many as leave a processor several, and all that it can hold.
constexpr int kFewVectors = 512, kSomeVectors = 2048, kMostVectors = kMostThreads * kMostHeld;

struct Slices {
  int group_channels;
  int slice_groups, slices, slice_channels;  // the last slice may have fewer groups; channels with those that fill up its vectors
  int chunk_pixels, chunks;  // the last chunk may have fewer pixels; 0: a block has no room for a group
  int columns;  // of threads: a pixel's vectors, filled up to a power of two where several pixels share a warp
  int rows, held, threads;  // of threads, pixels that each of them holds, threads in all
  int cluster;  // blocks that have a chunk's rows in turn, a power of two
  int lines;    // of a block's sums, each for all columns
  int pivot_pixel;  // of a chunk, if it has as many
  Divisor by_slices, by_chunks, by_columns, by_cluster;
};

/// Of shared memory: two sums for each part of a thread's vector; y's factor, offset and shift for each channel; a pivot and the block's
/// three sums for each group.
inline int64_t shared_bytes(const Slices& s, int64_t parts) {
  return 4 * (2 * parts * s.threads + 3 * s.slice_channels + 4 * s.slice_groups);
}

/// What the cut goes by, beside the shape. The bits do not depend on `count`; where clusters are smaller, more images are cut into
/// chunks.
struct Processors {
  int64_t count, most_cluster;
};

/// Groups that are together at least `bytes` of a pixel and begin where a vector does.
inline int64_t groups_of_width(int64_t bytes, int64_t group_bytes, int64_t vector_bytes, int64_t groups) {
  const int64_t whole = vector_bytes / std::gcd(group_bytes, vector_bytes);
  return std::min((bytes + group_bytes * whole - 1) / (group_bytes * whole) * whole, groups);
}

/// Channels of a vector that are of one group, of all vectors alike.
inline int64_t part_channels(int64_t group_channels, int64_t vector) {
  return group_channels % vector == 0 ? vector : vector == 8 && group_channels % 4 == 0 ? 4 : 1;
}

/// How a shape is cut. Wide slices read memory by whole lines; narrow ones give a small batch to more processors.
class Cut {
 public:
  Cut(GroupNormShape shape, int64_t element_bytes, int64_t vector, int64_t most_cluster)
      : shape_(shape), element_bytes_(element_bytes), vector_(vector), most_cluster_(most_cluster) {
    slices.group_channels = static_cast<int>(shape.channels / shape.groups);
  }

  /// The whole image, by the smallest cluster whose blocks hold no more than `most_vectors`; false where there is none.
  bool whole(int64_t bytes, int64_t most_vectors) {
    widen(bytes);
    if (bytes > 64 && 4 * vectors_ < 3 * slices.columns) return false;  // too many threads would only fill up warps
    constexpr int64_t some_vectors = 256;  // of small images more, until a block has some warps
    while (slices.columns * shape_.pixels < some_vectors && slices.slice_groups < shape_.groups) widen(bytes *= 2);
    hold(shape_.pixels, kFewRows);
    const int rows = slices.rows;
    for (int cluster = 1; cluster <= most_cluster_ && cluster <= rows; cluster *= 2) {
      slices.cluster = cluster;
      slices.rows = (rows + cluster - 1) / cluster;
      const int64_t threads = int64_t{slices.columns} * slices.rows;
      if (threads <= kMostThreads && threads * slices.held <= most_vectors) return finish(shape_.pixels);
    }
    return false;
  }

  /// In chunks of `most_pixels`, 0: of as many as a block holds.
  void in_chunks(int64_t most_pixels) {
    widen(64);
    const bool wide = slices.columns > kMostThreads;
    int64_t pixels = wide ? int64_t{kMostWideThreads / slices.columns} * kMostWideHeld : int64_t{kMostThreads / slices.columns} * kMostHeld;
    if (most_pixels > 0) pixels = std::min(pixels, most_pixels);
    pixels = std::min(pixels, shape_.pixels);
    slices.chunk_pixels = static_cast<int>(pixels);
    if (pixels == 0) return;
    hold(pixels, kFewThreads / slices.columns);
    if (wide) slices.held = kMostWideHeld, slices.rows = static_cast<int>((pixels + kMostWideHeld - 1) / kMostWideHeld);
    slices.cluster = 1;
    finish(pixels);
  }

  /// Whether its sums come in one order however it is cut: by pairs of rows, then of pairs of them, to the end.
  bool sums_by_pairs() const {
    const auto rows = static_cast<uint64_t>(slices.rows) * static_cast<uint64_t>(slices.cluster);
    return std::has_single_bit(rows) && slices.lines <= kWarp && part_channels(slices.group_channels, vector_) == slices.group_channels;
  }

  int64_t blocks() const { return shape_.batch * slices.chunks * slices.slices * slices.cluster; }

  Slices slices{};

 private:
  void widen(int64_t bytes) {
    const int64_t groups = groups_of_width(bytes, slices.group_channels * element_bytes_, vector_ * element_bytes_, shape_.groups);
    vectors_ = groups * slices.group_channels / vector_;
    const auto vectors = static_cast<uint64_t>(vectors_);
    slices.slice_groups = static_cast<int>(groups);
    slices.slices = static_cast<int>((shape_.groups + groups - 1) / groups);
    slices.columns = static_cast<int>(vectors <= kWarp ? std::bit_ceil(vectors) : vectors);
  }

  void hold(int64_t pixels, int64_t few_rows) {
    for (const int held : kHeldPixels) {
      slices.held = held;
      slices.rows = static_cast<int>((pixels + held - 1) / held);
      if (slices.rows <= few_rows) break;
    }
  }

  bool finish(int64_t pixels) {
    Slices& s = slices;
    s.chunk_pixels = static_cast<int>(pixels);
    s.chunks = static_cast<int>((shape_.pixels + pixels - 1) / pixels);
    s.threads = (s.columns * s.rows + kWarp - 1) / kWarp * kWarp;
    s.slice_channels = s.columns * static_cast<int>(vector_);
    s.lines = s.columns < kWarp ? s.threads / kWarp : s.rows;
    // In the middle of a square image: an image's border is unlike the rest.
    s.pivot_pixel = static_cast<int>((static_cast<double>(pixels) + std::sqrt(static_cast<double>(pixels))) / 2);
    s.by_slices = divisor(s.slices), s.by_chunks = divisor(s.chunks), s.by_columns = divisor(s.columns), s.by_cluster = divisor(s.cluster);
    if (shared_bytes(s, vector_ / part_channels(s.group_channels, vector_)) > kMostShared) s.chunk_pixels = 0;
    return s.chunk_pixels > 0;
  }

  GroupNormShape shape_;
  int64_t element_bytes_, vector_, most_cluster_;
  int64_t vectors_ = 0;  // of a slice's pixel
};

/// `vector`: channels of an access. `most_pixels`: of a chunk, 0: as many as a block holds.
inline Slices slices_of(GroupNormShape shape, int64_t element_bytes, int64_t vector, int64_t most_pixels, Processors processors) {
  const auto first_of = [&](std::initializer_list<int64_t> widths, std::initializer_list<int64_t> vectors) -> std::optional<Cut> {
    if (most_pixels > 0 && shape.pixels > most_pixels) return std::nullopt;
    for (const int64_t bytes : widths) {
      for (const int64_t most : vectors) {
        Cut cut(shape, element_bytes, vector, processors.most_cluster);
        if (cut.whole(bytes, most)) return cut;
      }
    }
    return std::nullopt;
  };
  // By whole lines only where an image has many rows: on an H100 a batch of 256 takes 60 µs instead of 65 with 1024 pixels of 128
  // channels, but 31 instead of 28 with 256 pixels of 256.
  const bool many_rows = shape.pixels > int64_t{kFewRows} * kMostHeld;
  const auto wide = first_of({many_rows ? 128 : 64, 64, 32}, {kSomeVectors, kMostVectors});
  if (!wide) {
    Cut cut(shape, element_bytes, vector, processors.most_cluster);
    cut.in_chunks(most_pixels);
    return cut.slices;
  }
  if (wide->blocks() < processors.count && wide->sums_by_pairs()) {
    const auto narrow = first_of({32}, {kFewVectors, kSomeVectors, kMostVectors});
    if (narrow && narrow->sums_by_pairs()) return narrow->slices;
  }
  return wide->slices;
}

}  // namespace nd::kernels::cuda
