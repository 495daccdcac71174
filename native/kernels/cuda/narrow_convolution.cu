#include "kernels/cuda/convolution_pixels.cuh"
#include "kernels/cuda/tensor_core.cuh"

/// 3×3 convolutions of so few outputs that one product of the tensor cores has them all: a model's last. Memory bounds them. A
/// warp goes down a strip of the image, and what it reads of a row serves the three rows of outputs that see it.
namespace nd::kernels::cuda {

namespace {

constexpr int kTaps = 3, kWarps = 8, kThreads = kWarp * kWarps;
constexpr int kTilePixels = 16;  // of a row, that one product has
constexpr int kMostStripRows = 8, kWarpsWanted = 8;  // wanted of a processor, before strips are long

template <typename T>
struct NarrowWork {
  const T* x;
  const T* weight;  // [kNarrowOutputs, kTaps, kTaps, channels]
  const float* bias;
  T* y;
  int height, width, channels;
  int strip_rows, strips, columns, items;  // strips: of an image; columns: of strips side by side
  Divisor by_columns, by_strips;
};

__device__ __forceinline__ uint4 no_pixels() { return make_uint4(0, 0, 0, 0); }

/// Words 2j and 2j + 1.
__device__ __forceinline__ void pair_of(const uint4& v, int j, uint32_t (&pair)[2]) {
  pair[0] = j == 0 ? v.x : v.z, pair[1] = j == 0 ? v.y : v.w;
}

/// The block's copy of the weights: for each kRowChannels channels and tap what each lane's part of the product is.
template <typename T>
__device__ __forceinline__ void fill(const NarrowWork<T>& work, uint4* weights) {
  constexpr int taps = kTaps * kTaps;
  const int count = work.channels / kRowChannels * taps;
  for (int i = static_cast<int>(threadIdx.x) / kWarp; i < count; i += kWarps) {
    const int chunk = i / taps, tap = i - chunk * taps, channel = chunk * kRowChannels + lane_channel();
    weights[i * kWarp + lane()] = *reinterpret_cast<const uint4*>(work.weight + (lane() / 4 * taps + tap) * work.channels + channel);
  }
}

/// kTiles·16 pixels of a row from `column` on, under each of the taps side by side; zeros outside.
template <typename T, int kTiles>
struct Row {
  uint4 seen[kTaps][kTiles][2];

  __device__ __forceinline__ void load(const T* row, int column, int width, int channels) {
#pragma unroll
    for (int right = 0; right < kTaps; ++right) {
#pragma unroll
      for (int tile = 0; tile < kTiles; ++tile) {
#pragma unroll
        for (int half = 0; half < 2; ++half) {
          const int x = column + tile * kTilePixels + 8 * half + right - 1;
          const bool inside = static_cast<unsigned>(x) < static_cast<unsigned>(width);
          seen[right][tile][half] = inside ? *reinterpret_cast<const uint4*>(row + x * channels) : no_pixels();
        }
      }
    }
  }
};

/// Outputs of three rows, as multiply_add has them: the one above the row that is read, that one, and the one below.
template <int kTiles>
struct Outputs {
  float at[kTaps][kTiles][4];

  __device__ __forceinline__ void begin(int row, const float2& bias) {
#pragma unroll
    for (int tile = 0; tile < kTiles; ++tile) {
      at[row][tile][0] = at[row][tile][2] = bias.x, at[row][tile][1] = at[row][tile][3] = bias.y;
    }
  }
  __device__ __forceinline__ void go_down() {
#pragma unroll
    for (int tile = 0; tile < kTiles; ++tile) {
#pragma unroll
      for (int i = 0; i < 4; ++i) at[0][tile][i] = at[1][tile][i], at[1][tile][i] = at[2][tile][i];
    }
  }
};

template <typename T, int kTiles>
__global__ void __launch_bounds__(kThreads, 2) narrow_kernel(const __grid_constant__ NarrowWork<T> work) {
  auto* const weights = reinterpret_cast<uint4*>(shared_memory());
  fill(work, weights);
  const int pair = lane() % 4 * 2;
  const float2 bias = work.bias == nullptr ? float2{0.0F, 0.0F} : *reinterpret_cast<const float2*>(work.bias + pair);
  __syncthreads();
  wait_for_previous();
  let_next_begin();
  const int item = static_cast<int>(blockIdx.x) * kWarps + static_cast<int>(threadIdx.x) / kWarp;
  if (item >= work.items) return;
  const int of_columns = quotient(item, work.by_columns), image = quotient(of_columns, work.by_strips);
  const int first = (of_columns - image * work.strips) * work.strip_rows, last = min(first + work.strip_rows, work.height);
  const int column = (item - of_columns * work.columns) * kTiles * kTilePixels + lane() / 4;
  const T* const x = work.x + int64_t{image} * work.height * work.width * work.channels + lane_channel();
  T* const y = work.y + int64_t{image} * work.height * work.width * kNarrowOutputs + pair;

  Outputs<kTiles> outputs;
#pragma unroll
  for (int row = 0; row < kTaps; ++row) outputs.begin(row, bias);
  for (int row = first - 1; row <= last; ++row) {
    if (row >= 0 && row < work.height) {
      for (int channel = 0; channel < work.channels; channel += kRowChannels) {
        Row<T, kTiles> read;
        read.load(x + row * work.width * work.channels + channel, column, work.width, work.channels);
        const uint4* const of_chunk = weights + channel / kRowChannels * kTaps * kTaps * kWarp + lane();
#pragma unroll
        for (int down = 0; down < kTaps; ++down) {
          // The output whose tap `down` this row is: of another strip it may be.
          const int out = row + 1 - down;
          if (out < first || out >= last) continue;
#pragma unroll
          for (int right = 0; right < kTaps; ++right) {
            const uint4 weight = of_chunk[(down * kTaps + right) * kWarp];
#pragma unroll
            for (int j = 0; j < 2; ++j) {
              uint32_t factor[2];
              pair_of(weight, j, factor);
#pragma unroll
              for (int tile = 0; tile < kTiles; ++tile) {
                uint32_t pixels[2][2];
                pair_of(read.seen[right][tile][0], j, pixels[0]), pair_of(read.seen[right][tile][1], j, pixels[1]);
                multiply_add<T>(outputs.at[kTaps - 1 - down][tile], pixels[0], pixels[1], factor);
              }
            }
          }
        }
      }
    }
    if (row > first) {
#pragma unroll
      for (int tile = 0; tile < kTiles; ++tile) {
#pragma unroll
        for (int half = 0; half < 2; ++half) {
          const int at = column + tile * kTilePixels + 8 * half;
          const float two[2] = {outputs.at[0][tile][2 * half], outputs.at[0][tile][2 * half + 1]};
          if (at < work.width) *reinterpret_cast<uint32_t*>(y + ((row - 1) * work.width + at) * kNarrowOutputs) = word_of<T>(two, 0);
        }
      }
    }
    outputs.go_down();
    outputs.begin(kTaps - 1, bias);
  }
}

size_t shared_bytes(int64_t channels) { return static_cast<size_t>(kTaps * kTaps * channels * kNarrowOutputs) * 2; }

}  // namespace

bool narrow_serves(const PlainConvolution& call) {
  constexpr int64_t most = 0x3FFFFFFF;  // an image's elements and the strips are counted in 32 bits
  const ConvolutionExtents& e = call.extents;
  return call.element != Element::f32 && e.batch > 0 && e.out_height > 0 && e.out_width > 0 && e.kernel == kTaps && e.stride == 1 &&
         e.padding == 1 && e.out_height == e.height && e.out_width == e.width && e.out_channels == kNarrowOutputs &&
         call.channels > 0 && call.channels % kRowChannels == 0 && shared_bytes(call.channels) <= kMostShared &&
         e.height * e.width * std::max<int64_t>(call.channels, kNarrowOutputs) <= most &&
         e.batch * e.height * blocks_for(e.width, kTilePixels) <= most && aligned_16(call.x) && aligned_16(call.weight) &&
         is_aligned(call.y, 4) && is_aligned(call.bias, 8);
}

void narrow_convolution(const PlainConvolution& call, Stream stream) {
  if (!narrow_serves(call)) fail(ErrorCode::shape, "narrow_convolution: no such call is served");
  const ConvolutionExtents& e = call.extents;
  dispatch_half(call.element, [&](auto type) {
    using T = typename decltype(type)::type;
    const auto launch_with = [&](auto kernel, int tiles) {
      NarrowWork<T> work{};
      work.x = static_cast<const T*>(call.x), work.weight = static_cast<const T*>(call.weight);
      work.bias = call.bias, work.y = static_cast<T*>(call.y);
      work.height = static_cast<int>(e.height), work.width = static_cast<int>(e.width);
      work.channels = static_cast<int>(call.channels);
      work.columns = static_cast<int>(blocks_for(e.width, tiles * kTilePixels));
      // A strip reads two rows more than it has.
      int rows = kMostStripRows;
      const auto items = [&] { return e.batch * blocks_for(e.height, rows) * work.columns; };
      while (rows > 1 && items() < processors() * kWarpsWanted) rows /= 2;
      work.strip_rows = rows, work.strips = static_cast<int>(blocks_for(e.height, rows));
      work.items = static_cast<int>(items());
      work.by_columns = divisor(work.columns), work.by_strips = divisor(work.strips);
      launch_overlapping(kernel, dim3(blocks_for(work.items, kWarps)), kThreads, shared_bytes(call.channels), stream, work);
    };
    if (e.width > kTilePixels) return launch_with(narrow_kernel<T, 2>, 2);
    launch_with(narrow_kernel<T, 1>, 1);
  });
}

}  // namespace nd::kernels::cuda
