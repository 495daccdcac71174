#include "kernels/cuda/convolution_pixels.cuh"
#include "kernels/cuda/tensor_core.cuh"

/// Convolutions of so few channels that all taps of them are one product of the tensor cores: a model's first. A warp keeps
/// the weights of its outputs, and gathers what the taps see of 16 pixels after another.
namespace nd::kernels::cuda {

namespace {

static_assert(kThinProducts == kRowChannels);

constexpr int kWarps = 4, kThreads = kWarp * kWarps, kTileRows = 16;

template <typename T>
struct ThinWork {
  const T* x;
  const T* weight;  // [out_channels, kRowChannels]
  const float* bias;
  T* y;
  ConvolutionPixels pixels;
  int channels, kernel, products;  // products: taps times channels
  Divisor by_channels, by_kernel;
};

/// One of a lane's products: where the tap lies from the first, and the channel there.
struct Tap {
  int down, right, channel;

  template <typename T>
  __device__ __forceinline__ Tap(const ThinWork<T>& work, int product) {
    const int tap = quotient(product, work.by_channels);
    channel = product - tap * work.channels;
    down = quotient(tap, work.by_kernel);
    right = tap - down * work.kernel;
  }
};

/// What a lane's eight products see of a pixel, two in each word; zeros outside, and behind the last product.
template <typename T>
__device__ __forceinline__ void gather(const ThinWork<T>& work, int row, uint32_t (&words)[4]) {
  const int height = work.pixels.height, width = work.pixels.width;
  const Corner corner = corner_of(work.pixels, row);
  const bool is_row = row < work.pixels.rows;
  const T* const of_image = work.x + int64_t{is_row ? corner.image : 0} * height * width * work.channels;
  T seen[kLaneChannels], zero;
  round_to(zero, 0.0F);
#pragma unroll
  for (int i = 0; i < kLaneChannels; ++i) {
    const int product = lane_channel() + i;
    const Tap tap(work, product);
    const int y = corner.y + tap.down, x = corner.x + tap.right;
    const bool sees = is_row && is_inside(y, x, height, width) && product < work.products;
    // Some element is read in any case: a branch around each of them costs more.
    const T element = of_image[sees ? (y * width + x) * work.channels + tap.channel : 0];
    seen[i] = sees ? element : zero;
  }
  memcpy(words, seen, sizeof words);
}

/// The outs come in blocks of 32, of which a lane's sums of four products are of eight neighbours: the product o has in its place
/// 2t + i the output 8t + 2o + i.
constexpr int kBlockOuts = kThinOutputs, kBlockProducts = 4;

template <typename T, int kOuts>
__global__ void __launch_bounds__(kThreads) thin_kernel(const __grid_constant__ ThinWork<T> work) {
  constexpr int kBlocks = kOuts / kBlockOuts;
  const int first_out = static_cast<int>(blockIdx.y) * kOuts, quad = lane() / 4, member = lane() % 4;
  uint4 weights[kBlocks][kBlockProducts];
  float2 bias[kBlocks][kBlockProducts] = {};
#pragma unroll
  for (int b = 0; b < kBlocks; ++b) {
#pragma unroll
    for (int o = 0; o < kBlockProducts; ++o) {
      const int out = first_out + b * kBlockOuts + 8 * (quad / 2) + 2 * o + quad % 2;
      weights[b][o] = *reinterpret_cast<const uint4*>(work.weight + int64_t{out} * kRowChannels + lane_channel());
      if (work.bias != nullptr) {
        bias[b][o] = *reinterpret_cast<const float2*>(work.bias + first_out + b * kBlockOuts + 8 * member + 2 * o);
      }
    }
  }
  const int warps = static_cast<int>(gridDim.x) * kWarps, warp = static_cast<int>(blockIdx.x) * kWarps + static_cast<int>(threadIdx.x) / kWarp;
  wait_for_previous();
  for (int first_row = warp * kTileRows; first_row < work.pixels.rows; first_row += warps * kTileRows) {
    const int rows[2] = {first_row + quad, first_row + quad + 8};
    uint32_t seen[2][4];
    gather(work, rows[0], seen[0]);
    gather(work, rows[1], seen[1]);
#pragma unroll
    for (int b = 0; b < kBlocks; ++b) {
      float y[2][2 * kBlockProducts];
#pragma unroll
      for (int o = 0; o < kBlockProducts; ++o) {
        const uint4& w = weights[b][o];
        const uint32_t words[4] = {w.x, w.y, w.z, w.w};
        float sums[4] = {bias[b][o].x, bias[b][o].y, bias[b][o].x, bias[b][o].y};
        multiply_add<T>(sums, &seen[0][0], &seen[1][0], &words[0]);
        multiply_add<T>(sums, &seen[0][2], &seen[1][2], &words[2]);
#pragma unroll
        for (int i = 0; i < 4; ++i) y[i / 2][2 * o + i % 2] = sums[i];
      }
#pragma unroll
      for (int i = 0; i < 2; ++i) {
        if (rows[i] < work.pixels.rows) store(work.y + int64_t{rows[i]} * work.pixels.out_channels + first_out + b * kBlockOuts + 8 * member, y[i]);
      }
    }
  }
}

}  // namespace

bool thin_serves(const PlainConvolution& call) {
  constexpr int64_t most = 0x3FFFFFFF;  // pixels and an image's elements are counted in 32 bits
  const ConvolutionExtents& e = call.extents;
  const int64_t rows = e.batch * e.out_height * e.out_width;
  return call.element != Element::f32 && rows > 0 && rows + kTileRows <= most && call.channels > 0 &&
         e.kernel * e.kernel * call.channels <= kThinProducts && e.height * e.width * call.channels <= most &&
         e.out_channels % kBlockOuts == 0 && e.out_channels / kBlockOuts <= kMostRows && aligned_16(call.weight) &&
         aligned_16(call.y) && is_aligned(call.bias, 8);
}

void thin_convolution(const PlainConvolution& call, Stream stream) {
  if (!thin_serves(call)) fail(ErrorCode::shape, "thin_convolution: no such call is served");
  dispatch_half(call.element, [&](auto type) {
    using T = typename decltype(type)::type;
    ThinWork<T> work{};
    work.x = static_cast<const T*>(call.x), work.weight = static_cast<const T*>(call.weight);
    work.bias = call.bias, work.y = static_cast<T*>(call.y);
    work.pixels = pixels_of(call.extents);
    work.channels = static_cast<int>(call.channels), work.kernel = call.extents.kernel;
    work.products = work.kernel * work.kernel * work.channels;
    work.by_channels = divisor(work.channels), work.by_kernel = divisor(work.kernel);
    const auto launch_with = [&](auto kernel, int outs) {
      // A warp's weights serve several tiles where there are many.
      constexpr unsigned kMostTiles = 4, kSomeBlocks = 512;
      const auto columns = static_cast<unsigned>(work.pixels.out_channels / outs), all = blocks_for(work.pixels.rows, kTileRows * kWarps);
      const auto tiles = std::clamp(all * columns / kSomeBlocks, 1U, kMostTiles);
      launch_overlapping(kernel, dim3((all + tiles - 1) / tiles, columns), kThreads, kLittleShared, stream, work);
    };
    if (work.pixels.out_channels % 64 == 0) return launch_with(thin_kernel<T, 64>, 64);
    launch_with(thin_kernel<T, 32>, 32);
  });
}

}  // namespace nd::kernels::cuda
