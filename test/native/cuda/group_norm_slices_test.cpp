#include "kernels/cuda/group_norm_slices.h"

#include <cstdint>

#include "check.h"

using namespace nd::kernels::cuda;
using nd::kernels::GroupNormShape;

namespace {

/// A launch that a GPU takes, which together has every pixel of every group once.
void expect_whole(GroupNormShape shape, int64_t element_bytes, int64_t vector, int64_t most_pixels, Processors processors) {
  const Slices s = slices_of(shape, element_bytes, vector, most_pixels, processors);
  if (s.chunk_pixels == 0) return;  // a group is wider than a block
  const int most_threads = s.held > kMostWideHeld ? kMostThreads : kMostWideThreads;  // group_norm.cu's launch bounds
  EXPECT(s.threads > 0 && s.threads % kWarp == 0);
  EXPECT(s.threads <= most_threads);
  EXPECT(s.columns * s.rows <= s.threads);
  EXPECT(shared_bytes(s, vector / part_channels(s.group_channels, vector)) <= kMostShared);
  EXPECT(s.columns > kWarp || kWarp % s.columns == 0);
  EXPECT(int64_t{s.columns} * vector >= int64_t{s.slice_groups} * s.group_channels);
  EXPECT(s.cluster >= 1 && s.cluster <= processors.most_cluster && (s.cluster & (s.cluster - 1)) == 0);
  EXPECT(s.cluster == 1 || s.chunks == 1);
  EXPECT(s.cluster * s.rows * s.held >= s.chunk_pixels);
  EXPECT(most_pixels == 0 || s.chunk_pixels <= most_pixels);
  EXPECT(s.pivot_pixel < s.chunk_pixels || s.chunk_pixels == 1);
  EXPECT(int64_t{s.chunks} * s.chunk_pixels >= shape.pixels && int64_t{s.chunks - 1} * s.chunk_pixels < shape.pixels);
  EXPECT(int64_t{s.slices} * s.slice_groups >= shape.groups && int64_t{s.slices - 1} * s.slice_groups < shape.groups);
  if (s.slices > 1) EXPECT_EQUAL(s.slice_groups * s.group_channels % vector, 0);
}

}  // namespace

TEST("blocks have no more threads than a launch may, and every pixel and group is some block's") {
  for (const int64_t group_channels : {1, 2, 3, 4, 5, 8, 12, 24, 33, 40, 100, 264, 700, 1000, 2056, 4104}) {
    for (const int64_t groups : {1, 2, 3, 8, 11, 32, 48}) {
      for (const int64_t pixels : {1, 2, 7, 16, 63, 64, 300, 1000, 1024, 4097, 16384, 65536}) {
        for (const int64_t most_pixels : {0, 7, 1000}) {
          for (const Processors processors : {Processors{132, 1}, Processors{132, 8}, Processors{1, 8}}) {
            const GroupNormShape shape{1, pixels, group_channels * groups, groups};
            expect_whole(shape, 4, 1, most_pixels, processors);
            expect_whole(shape, 2, 1, most_pixels, processors);
            if (shape.channels % 4 == 0) expect_whole(shape, 4, 4, most_pixels, processors);
            if (shape.channels % 8 == 0) expect_whole(shape, 2, 8, most_pixels, processors);
          }
        }
      }
    }
  }
}

TEST("large batches are read by wide lines, small ones by more blocks; images that a block does not hold, by clusters") {
  const Processors h100{132, 8}, a100{108, 1};
  const auto cut = [](int64_t batch, int64_t pixels, int64_t channels, Processors processors) {
    return slices_of({batch, pixels, channels, 32}, 2, 8, 0, processors);
  };
  const auto line_bytes = [](const Slices& s) { return s.slice_groups * s.group_channels * 2; };
  for (const int64_t pixels : {1024, 4096}) EXPECT_EQUAL(line_bytes(cut(256, pixels, 128, h100)), 128);
  EXPECT_EQUAL(line_bytes(cut(256, 256, 256, h100)), 64);
  EXPECT_EQUAL(line_bytes(cut(256, 1024, 384, h100)), 96);  // 128 would be 9 vectors of 16
  EXPECT_EQUAL(cut(256, 1024, 128, h100).cluster, 4);
  EXPECT_EQUAL(cut(256, 256, 256, h100).cluster, 1);
  EXPECT_EQUAL(line_bytes(cut(1, 1024, 128, h100)), 32);
  EXPECT_EQUAL(cut(1, 1024, 128, h100).cluster, 4);
  for (const int64_t pixels : {1, 16, 64, 256, 1024, 4096}) {
    for (const int64_t channels : {32, 128, 384, 512}) EXPECT_EQUAL(cut(1, pixels, channels, h100).chunks, 1);
  }
  EXPECT_EQUAL(cut(1, 16384, 128, h100).chunks, 1);
  EXPECT(cut(1, 65536, 128, h100).chunks > 1);
  EXPECT_EQUAL(line_bytes(cut(256, 1024, 128, a100)), 64);
  EXPECT(cut(1, 4096, 128, a100).chunks > 1);
}

TEST("one sample and many are cut differently, but for sums that would come in another order") {
  // Those of device_group_norm_test, on an H100 and where the kernels are emulated.
  for (const int64_t count : {132, 16}) {
    const auto cut = [&](int64_t batch, int64_t pixels, int64_t channels, int64_t groups, int64_t element_bytes) {
      return slices_of({batch, pixels, channels, groups}, element_bytes, 16 / element_bytes, 0, {count, 8});
    };
    EXPECT(cut(1, 1024, 64, 16, 4).columns < cut(20, 1024, 64, 16, 4).columns);
    EXPECT(cut(1, 4096, 32, 8, 4).cluster != cut(20, 4096, 32, 8, 4).cluster);
    EXPECT(cut(1, 1024, 128, 32, 2).columns < cut(20, 1024, 128, 32, 2).columns);
    EXPECT_EQUAL(cut(1, 1024, 64, 4, 4).columns, cut(20, 1024, 64, 4, 4).columns);
    EXPECT_EQUAL(cut(1, 1024, 64, 4, 4).cluster, cut(20, 1024, 64, 4, 4).cluster);
    EXPECT_EQUAL(cut(1, 480, 64, 16, 4).columns, cut(40, 480, 64, 16, 4).columns);
  }
}

TEST("the pivot is the middle of a square image") {
  // device_group_norm_statistics_test puts its outliers there.
  const Processors processors{132, 8};
  EXPECT_EQUAL(slices_of({1, 900, 64, 8}, 2, 8, 0, processors).pivot_pixel, 15 * 30 + 15);
  EXPECT_EQUAL(slices_of({1, 900, 64, 8}, 2, 8, 7, processors).pivot_pixel, 4);
  EXPECT_EQUAL(slices_of({1, 2048, 32, 2}, 2, 8, 0, processors).pivot_pixel, (2048 + 45) / 2);
}
