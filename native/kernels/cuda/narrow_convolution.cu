#include "kernels/cuda/convolution_pixels.cuh"
#include "kernels/cuda/tensor_core.cuh"

/// 3×3 convolutions of few outputs: a model's last. Of a pixel the products with all nine taps are made at once, so that it is read
/// once a row; a warp goes down a strip of the image, and adds up what belongs to one output: of neighbours, then of rows.
namespace nd::kernels::cuda {

namespace {

constexpr int kTaps = 3, kAllTaps = kTaps * kTaps;
constexpr int kPairs = (kAllTaps + 1) / 2;  // of taps: the outputs of two are a product's rows
constexpr int kGroupPixels = 8;             // a product's columns
constexpr int kWarps = 4, kThreads = kWarp * kWarps;
/// That an SM must be able to take: 168 or 255 registers a thread.
template <bool kGoesOn>
constexpr int kBoundBlocks = kGoesOn ? 2 : 3;
constexpr int kMostStripRows = 8, kWarpsWanted = 8;  // wanted of a processor, before strips are long

template <typename T>
struct NarrowWork {
  const T* x;
  const T* weight;  // [kNarrowOutputs, kAllTaps, channels]
  const float* bias;
  T* y;
  int height, width, channels;
  int strip_rows, strips, columns, items;  // strips: of an image; columns: of strips side by side
  Divisor by_columns, by_strips;
};

/// The block's copy of the weights: a lane's part of each product's left factor, [channels / kRowChannels, kPairs, 2, lane].
template <typename T>
__device__ __forceinline__ void fill(const NarrowWork<T>& work, uint4* weights) {
  const int count = work.channels / kRowChannels * kPairs * 2;
  for (int i = static_cast<int>(threadIdx.x) / kWarp; i < count; i += kWarps) {
    const int chunk = i / (2 * kPairs), tap = i % (2 * kPairs) / 2 * 2, channel = chunk * kRowChannels + lane_channel() + i % 2 * 4;
    const T* const of_tap = work.weight + (lane() / 4 * kAllTaps + tap) * work.channels + channel;
    const uint2 first = *reinterpret_cast<const uint2*>(of_tap);
    uint2 second = make_uint2(0, 0);
    if (tap + 1 < kAllTaps) second = *reinterpret_cast<const uint2*>(of_tap + work.channels);
    weights[i * kWarp + lane()] = make_uint4(first.x, second.x, first.y, second.y);
  }
}

/// Groups of pixels: where the row goes on on both sides, there is one more, whose first two are the neighbours of the others' ends,
/// the left one and the right one; its other six are zeros.
template <int kGroups, bool kGoesOn>
constexpr int kAllGroups = kGroups + (kGoesOn ? 1 : 0);

/// Of a row.
template <typename T, int kGroups, bool kGoesOn>
struct Pixels {
  static constexpr int kAll = kAllGroups<kGroups, kGoesOn>, kNone = -1;
  uint4 seen[kAll];

  /// Of kRowChannels channels; `column`: the first pixel.
  __device__ __forceinline__ void load(const T* row, int column, const NarrowWork<T>& work) {
    const int pixel = lane() / 4;
#pragma unroll
    for (int group = 0; group < kAll; ++group) {
      const int neighbour = pixel == 0 ? column - 1 : pixel == 1 ? column + kGroups * kGroupPixels : kNone;
      const int x = group == kGroups ? neighbour : column + group * kGroupPixels + pixel;
      const bool inside = static_cast<unsigned>(x) < static_cast<unsigned>(work.width);
      seen[group] = inside ? *reinterpret_cast<const uint4*>(row + x * work.channels + lane_channel()) : make_uint4(0, 0, 0, 0);
    }
  }
};

/// A lane's products of the pixels of a row, and what comes of them: of a group its output lane / 4 of two pixels, 2·(lane % 4) and
/// the next.
template <int kGroups, bool kGoesOn>
struct Products {
  static constexpr int kAll = kAllGroups<kGroups, kGoesOn>;
  float at[kAll][kPairs][4] = {};

  template <typename T>
  __device__ __forceinline__ void add(const Pixels<T, kGroups, kGoesOn>& pixels, const uint4* weights) {
#pragma unroll
    for (int pair = 0; pair < kPairs; ++pair) {
#pragma unroll
      for (int j = 0; j < 2; ++j) {
        const uint4 weight = weights[(pair * 2 + j) * kWarp];
        const uint32_t first[2] = {weight.x, weight.z}, second[2] = {weight.y, weight.w};
#pragma unroll
        for (int group = 0; group < kAll; ++group) {
          const uint4& seen = pixels.seen[group];
          const uint32_t words[2] = {j == 0 ? seen.x : seen.z, j == 0 ? seen.y : seen.w};
          multiply_add<T>(at[group][pair], first, second, words);
        }
      }
    }
  }

  /// Adds to the outputs of the row whose taps `down` these are.
  __device__ __forceinline__ void add_to(float (&sums)[kGroups][2], int down) const {
    const int here = lane() % 4, quad = lane() - here;
    // What the taps on both sides see: the pixel before the lane's two, and the one after. A quad's first lane has in left what the next
    // group's first wants, its group's last pixel; its last has in right what the group before wants, its group's first.
    float left[kAll], right[kAll];
#pragma unroll
    for (int group = 0; group < kAll; ++group) {
      left[group] = __shfl_sync(~0U, of(group, down, 0, 1), quad + (here + 3) % 4);
      right[group] = __shfl_sync(~0U, of(group, down, 2, group == kGroups ? 1 : 0), quad + (here + 1) % 4);
    }
#pragma unroll
    for (int group = 0; group < kGroups; ++group) {
      const float before = group > 0 ? left[group - 1] : kGoesOn ? of(kAll - 1, down, 0, 0) : 0.0F;
      const float after = group + 1 < kAll ? right[group + 1] : 0.0F;
      sums[group][0] += of(group, down, 1, 0) + (here == 0 ? before : left[group]) + of(group, down, 2, 1);
      sums[group][1] += of(group, down, 1, 1) + of(group, down, 0, 0) + (here == 3 ? after : right[group]);
    }
  }

 private:
  /// The product of one of the two pixels with a tap.
  __device__ __forceinline__ float of(int group, int down, int across, int pixel) const {
    const int tap = down * kTaps + across;
    return at[group][tap / 2][tap % 2 * 2 + pixel];
  }
};

template <typename T, int kGroups, bool kGoesOn>
__global__ void __launch_bounds__(kThreads, kBoundBlocks<kGoesOn>) narrow_kernel(const __grid_constant__ NarrowWork<T> work) {
  auto* const weights = reinterpret_cast<uint4*>(shared_memory());
  fill(work, weights);
  const int out = lane() / 4;
  const float bias = work.bias == nullptr ? 0.0F : work.bias[out];
  __syncthreads();
  wait_for_previous();
  let_next_begin();
  const int item = static_cast<int>(blockIdx.x) * kWarps + static_cast<int>(threadIdx.x) / kWarp;
  if (item >= work.items) return;
  const int of_columns = quotient(item, work.by_columns), image = quotient(of_columns, work.by_strips);
  const int first = (of_columns - image * work.strips) * work.strip_rows, end = min(first + work.strip_rows, work.height);
  const int column = (item - of_columns * work.columns) * kGroups * kGroupPixels;
  const T* const x = work.x + int64_t{image} * work.height * work.width * work.channels;
  T* const y = work.y + int64_t{image} * work.height * work.width * kNarrowOutputs + out;

  // Rows of outputs: the one above the row that is read, that one, and the one below. Some are another strip's: nobody stores them.
  float sums[kTaps][kGroups][2];
  const auto begin = [&](float (&of_row)[kGroups][2]) {
#pragma unroll
    for (int group = 0; group < kGroups; ++group) of_row[group][0] = of_row[group][1] = bias;
  };
#pragma unroll
  for (auto& of_row : sums) begin(of_row);
  // What is read comes a step before it is wanted.
  const int last_row = min(end, work.height - 1);
  int next_row = max(first - 1, 0), next_channel = 0;
  using Read = Pixels<T, kGroups, kGoesOn>;
  Read next;
  next.load(x + next_row * work.width * work.channels, column, work);
  for (int row = first - 1; row <= end; ++row) {
    if (row >= 0 && row < work.height) {
      Products<kGroups, kGoesOn> products;
      for (int chunk = 0; chunk < work.channels / kRowChannels; ++chunk) {
        const Read read = next;
        if ((next_channel += kRowChannels) == work.channels) next_channel = 0, ++next_row;
        if (next_row <= last_row) next.load(x + next_row * work.width * work.channels + next_channel, column, work);
        products.add(read, weights + chunk * kPairs * 2 * kWarp + lane());
      }
#pragma unroll
      for (int down = 0; down < kTaps; ++down) products.add_to(sums[kTaps - 1 - down], down);
    }
    if (row > first) {
#pragma unroll
      for (int group = 0; group < kGroups; ++group) {
#pragma unroll
        for (int pixel = 0; pixel < 2; ++pixel) {
          const int to = column + group * kGroupPixels + lane() % 4 * 2 + pixel;
          if (to < work.width) round_to(y[((row - 1) * work.width + to) * kNarrowOutputs], sums[0][group][pixel]);
        }
      }
    }
#pragma unroll
    for (int group = 0; group < kGroups; ++group) {
#pragma unroll
      for (int pixel = 0; pixel < 2; ++pixel) {
        sums[0][group][pixel] = sums[1][group][pixel], sums[1][group][pixel] = sums[2][group][pixel];
      }
    }
    begin(sums[kTaps - 1]);
  }
}

size_t shared_bytes(int64_t channels) { return static_cast<size_t>(channels / kRowChannels) * kPairs * 2 * kWarp * sizeof(uint4); }

}  // namespace

bool narrow_serves(const PlainConvolution& call) {
  constexpr int64_t most = 0x3FFFFFFF;  // an image's elements and the strips are counted in 32 bits
  const ConvolutionExtents& e = call.extents;
  const int64_t of_pixel = std::max<int64_t>(call.channels, kNarrowOutputs);
  if (std::max({e.batch, e.height, e.width, of_pixel}) > most) return false;
  const bool is_counted = e.height * e.width <= most && e.height * e.width * of_pixel <= most && e.batch * e.height * e.width <= most;
  const bool keeps_size = e.kernel == kTaps && e.stride == 1 && e.padding == 1 && e.out_height == e.height && e.out_width == e.width;
  return is_counted && keeps_size && call.element != Element::f32 && e.batch > 0 && e.height > 0 && e.width > 0 &&
         e.out_channels == kNarrowOutputs && call.channels > 0 && call.channels % kRowChannels == 0 &&
         shared_bytes(call.channels) <= kMostShared && call.strip_rows >= 0 && aligned_16(call.x) && aligned_16(call.weight) &&
         is_aligned(call.y, 2) && is_aligned(call.bias, 4);
}

void narrow_convolution(const PlainConvolution& call, Stream stream) {
  if (!narrow_serves(call)) fail(ErrorCode::shape, "narrow_convolution: no such call is served");
  const ConvolutionExtents& e = call.extents;
  dispatch_half(call.element, [&](auto type) {
    using T = typename decltype(type)::type;
    const auto launch_with = [&](auto kernel, int groups) {
      NarrowWork<T> work{};
      work.x = static_cast<const T*>(call.x), work.weight = static_cast<const T*>(call.weight);
      work.bias = call.bias, work.y = static_cast<T*>(call.y);
      work.height = static_cast<int>(e.height), work.width = static_cast<int>(e.width);
      work.channels = static_cast<int>(call.channels);
      work.columns = static_cast<int>(blocks_for(e.width, groups * kGroupPixels));
      // A strip reads two rows more than it has.
      int rows = call.strip_rows > 0 ? static_cast<int>(std::min<int64_t>(call.strip_rows, kMostStripRows)) : kMostStripRows;
      const auto items = [&] { return e.batch * blocks_for(e.height, rows) * work.columns; };
      while (call.strip_rows == 0 && rows > 1 && items() < processors() * kWarpsWanted) rows /= 2;
      work.strip_rows = rows, work.strips = static_cast<int>(blocks_for(e.height, rows));
      work.items = static_cast<int>(items());
      work.by_columns = divisor(work.columns), work.by_strips = divisor(work.strips);
      launch_overlapping(kernel, dim3(blocks_for(work.items, kWarps)), kThreads, shared_bytes(call.channels), stream, work);
    };
    if (e.width <= 2 * kGroupPixels) return launch_with(narrow_kernel<T, 2, false>, 2);
    if (e.width <= 4 * kGroupPixels) return launch_with(narrow_kernel<T, 4, false>, 4);
    launch_with(narrow_kernel<T, 4, true>, 4);
  });
}

}  // namespace nd::kernels::cuda
