#include "kernels/cuda/split_k_factors.cuh"

/// Convolutions with too few outputs for tiles that fill a GPU: the tiles are small, and the eight warps of a block share the
/// sum over taps and channels of one. A warp's factors go from memory to its registers as the tensor cores want them, and no
/// warp waits for another before the end, when the block adds up its warps' sums.
namespace nd::kernels::cuda {

namespace {

using namespace split_k;

constexpr int kWarps = 8, kThreads = kWarp * kWarps;

/// So many pixels with so many channels each.
template <int kRowCount, int kOutCount>
struct Tile {
  static constexpr int kRows = kRowCount, kOuts = kOutCount;
  static constexpr int kLaneRows = kRows / 8, kLaneOuts = kOuts / 8, kRowBlocks = kRows / 16;
  /// The factors of a step that a lane has.
  struct Stage {
    uint4 rows[kLaneRows], outs[kLaneOuts];
  };
  // As many steps as fit into some registers are on their way at once.
  static constexpr int kStages = std::min(std::max(120 / (4 * (kLaneRows + kLaneOuts)), 2), 10);
  static constexpr int kPitch = std::max(kOuts + 8, 24);  // of a row of sums in shared memory: side by side they would share banks
  static constexpr size_t kShared = sizeof(float) * kWarps * kRows * kPitch;
};

/// A warp's share of a tile's sums, in the order of multiply_add.
template <typename Tile>
struct Sums {
  float at[Tile::kRowBlocks][Tile::kLaneOuts][4] = {};

  __device__ __forceinline__ void begin_with_bias(const float* bias) {
#pragma unroll
    for (int o = 0; o < Tile::kLaneOuts; ++o) {
      const auto pair = *reinterpret_cast<const float2*>(bias + 8 * o + lane() % 4 * 2);
#pragma unroll
      for (int b = 0; b < Tile::kRowBlocks; ++b) {
        at[b][o][0] = at[b][o][2] = pair.x, at[b][o][1] = at[b][o][3] = pair.y;
      }
    }
  }

  /// residual: of the tile's first row and out, of whose rows there are so many.
  template <typename T>
  __device__ __forceinline__ void begin_with_residual(const T* residual, int rows, int channels) {
    each_pair([&](float* sums, int row, int out) {
      Lanes<T, 2> pair{};
      if (row < rows) pair = *reinterpret_cast<const Lanes<T, 2>*>(residual + int64_t{row} * channels + out);
      sums[0] = to_float(pair.lane[0]), sums[1] = to_float(pair.lane[1]);
    });
  }

  template <typename T>
  __device__ __forceinline__ void add(const typename Tile::Stage& stage) {
#pragma unroll
    for (int j = 0; j < kRowChannels / 16; ++j) {
#pragma unroll
      for (int b = 0; b < Tile::kRowBlocks; ++b) {
        const uint32_t first[2] = {word(stage.rows[2 * b], j, 0), word(stage.rows[2 * b], j, 1)};
        const uint32_t second[2] = {word(stage.rows[2 * b + 1], j, 0), word(stage.rows[2 * b + 1], j, 1)};
#pragma unroll
        for (int o = 0; o < Tile::kLaneOuts; ++o) {
          const uint32_t out[2] = {word(stage.outs[o], j, 0), word(stage.outs[o], j, 1)};
          multiply_add<T>(at[b][o], first, second, out);
        }
      }
    }
  }

  /// to: [kRows, kPitch].
  __device__ __forceinline__ void store(float* to) {
    each_pair([&](const float* sums, int row, int out) {
      *reinterpret_cast<float2*>(to + row * Tile::kPitch + out) = float2{sums[0], sums[1]};
    });
  }

 private:
  static __device__ __forceinline__ uint32_t word(const uint4& v, int j, int i) {
    return j == 0 ? (i == 0 ? v.x : v.y) : (i == 0 ? v.z : v.w);
  }

  /// visit(two sums side by side, their row and out in the tile).
  template <typename Visit>
  __device__ __forceinline__ void each_pair(const Visit& visit) {
#pragma unroll
    for (int b = 0; b < Tile::kRowBlocks; ++b) {
#pragma unroll
      for (int o = 0; o < Tile::kLaneOuts; ++o) {
        visit(at[b][o], 16 * b + lane() / 4, 8 * o + lane() % 4 * 2);
        visit(at[b][o] + 2, 16 * b + lane() / 4 + 8, 8 * o + lane() % 4 * 2);
      }
    }
  }
};

/// y of the tile: the sums of all warps, in their order.
template <typename Tile, typename T>
__device__ __forceinline__ void finish(const Work<T>& work, const float* sums, int first_row, int first_out) {
  constexpr int kVector = kVectorOf<T>, kRows = Tile::kRows, kOuts = Tile::kOuts, kItems = kRows * kOuts / kVector;
  for (int item = static_cast<int>(threadIdx.x); item < kItems; item += kThreads) {
    const int row = item / (kOuts / kVector), out = item % (kOuts / kVector) * kVector;
    if (first_row + row >= work.pixels.rows) continue;
    float v[kVector] = {};
#pragma unroll
    for (int warp = 0; warp < kWarps; ++warp) {
      float part[kVector];
      load_row(sums + (warp * kRows + row) * Tile::kPitch + out, part);
#pragma unroll
      for (int i = 0; i < kVector; ++i) v[i] += part[i];
    }
#pragma unroll
    for (int i = 0; i < kVector; ++i) v[i] *= work.scale;
    store(work.y + int64_t{first_row + row} * work.pixels.out_channels + first_out + out, v);
  }
}

template <typename T, typename Tile>
__global__ void __launch_bounds__(kThreads) split_k_kernel(const __grid_constant__ Work<T> work) {
  constexpr int kStages = Tile::kStages;
  const int warp = static_cast<int>(threadIdx.x) / kWarp;
  const int first_row = static_cast<int>(blockIdx.x) * Tile::kRows, first_out = static_cast<int>(blockIdx.y) * Tile::kOuts;
  const int first = work.steps * warp / kWarps, last = work.steps * (warp + 1) / kWarps;

  typename Tile::Stage stages[kStages];
  const Place place(work, first);
  Outs<T, Tile::kLaneOuts> outs(work, place, first_out);
#pragma unroll
  for (int i = 0; i < kStages - 1; ++i) {
    if (first + i < last) outs.load_and_advance(stages[i].outs);
  }
  if (first_row == 0) outs.expect(last - first - (kStages - 1));
  // The first warp begins with the bias, the second with the residual.
  Sums<Tile> sums;
  if (warp == 0 && work.bias != nullptr) sums.begin_with_bias(work.bias + first_out);
  Rows<T, Tile::kLaneRows> rows(work, place, first_row);
  wait_for_previous();  // weights are nobody's result
  let_next_begin();
#pragma unroll
  for (int i = 0; i < kStages - 1; ++i) {
    if (first + i < last) rows.load_and_advance(stages[i].rows);
  }
  if (warp == 1 && work.residual != nullptr) {
    sums.begin_with_residual(work.residual + int64_t{first_row} * work.pixels.out_channels + first_out, work.pixels.rows - first_row,
                             work.pixels.out_channels);
  }
  for (int step = first; step < last; step += kStages) {
#pragma unroll
    for (int i = 0; i < kStages; ++i) {
      if (step + i + kStages - 1 < last) {
        auto& next = stages[(i + kStages - 1) % kStages];
        outs.load_and_advance(next.outs);
        rows.load_and_advance(next.rows);
      }
      if (step + i < last) sums.template add<T>(stages[i]);
    }
  }
  auto* const shared = reinterpret_cast<float*>(shared_memory());
  sums.store(shared + warp * Tile::kRows * Tile::kPitch);
  __syncthreads();
  finish<Tile>(work, shared, first_row, first_out);
}

/// visit(a tile, the grid of them): the largest of which there are enough, else the smallest that fits.
template <typename T, typename Visit>
void with_tile(const Work<T>& work, int64_t enough, const Visit& visit) {
  const auto grid = [&](auto tile) {
    return dim3(blocks_for(work.pixels.rows, tile.kRows), static_cast<unsigned>(work.pixels.out_channels / tile.kOuts));
  };
  const auto serves = [&](auto tile) {
    return work.pixels.out_channels % tile.kOuts == 0 && int64_t{grid(tile).x} * grid(tile).y >= enough;
  };
  const auto run = [&](auto tile) { visit(tile, grid(tile)); };
  if (const Tile<64, 32> tile; serves(tile)) return run(tile);
  if (const Tile<32, 32> tile; serves(tile)) return run(tile);
  if (const Tile<32, 16> tile; serves(tile)) return run(tile);
  if (const Tile<16, 16> tile; serves(tile)) return run(tile);
  // Of eight outputs, as a model's last has when it is widened, tiles are long.
  if (const Tile<64, 8> tile; work.pixels.out_channels % 16 != 0 && serves(tile)) return run(tile);
  run(Tile<16, 8>());
}

template <typename T>
Work<T> work_of(const SplitKConvolution& call) {
  Work<T> work{};
  for (int i = 0; i < kMostTerms; ++i) {
    const ConvolutionTerm& from = call.terms[i];
    if (from.x == nullptr) break;
    const auto channels = static_cast<int>(from.channels);
    const int kernel = i == 0 ? call.extents.kernel : 1, tap_steps = channels / kRowChannels, steps = kernel * kernel * tap_steps;
    work.terms[i] = {static_cast<const T*>(from.x), static_cast<const T*>(from.weight), channels,
                     static_cast<int>(from.weight_stride), kernel, steps, divisor(tap_steps), divisor(kernel)};
    work.steps += steps;
  }
  work.pixels = pixels_of(call.extents), work.doubling = call.doubles ? 1 : 0;
  work.bias = call.bias, work.residual = static_cast<const T*>(call.residual), work.scale = call.scale;
  work.y = static_cast<T*>(call.y);
  return work;
}

}  // namespace

bool split_k_serves(const SplitKConvolution& call) {
  constexpr int64_t most = 0x7FFFFFFF;  // elements are counted in 32 bits
  const ConvolutionExtents& e = call.extents;
  const int64_t pixels = e.batch * e.out_height * e.out_width;
  if (call.element == Element::f32 || pixels <= 0 || e.out_channels % 8 != 0 || e.out_channels / 8 > kMostRows) {
    return false;
  }
  // A tile's rows go beyond the last by less than a tile.
  if ((pixels + 64) * e.out_channels > most || !aligned_16(call.y) || !aligned_16(call.residual) ||
      !is_aligned(call.bias, 8)) {
    return false;
  }
  for (int i = 0; i < kMostTerms; ++i) {
    const ConvolutionTerm& term = call.terms[i];
    if (term.x == nullptr) return i > 0;
    const int64_t of_image = i == 0 ? e.height * e.width : e.out_height * e.out_width;
    if (term.channels <= 0 || term.channels % kRowChannels != 0 || term.weight_stride % kLaneChannels != 0 ||
        (e.batch * of_image + 64) * term.channels > most || term.weight_stride * e.out_channels > most ||
        !aligned_16(term.x) || !aligned_16(term.weight)) {
      return false;
    }
  }
  return true;
}

void split_k_convolution(const SplitKConvolution& call, Stream stream) {
  if (!split_k_serves(call)) fail(ErrorCode::shape, "split_k_convolution: no such call is served");
  dispatch_half(call.element, [&](auto type) {
    using T = typename decltype(type)::type;
    const auto work = work_of<T>(call);
    with_tile(work, call.blocks > 0 ? call.blocks : processors() * 3 / 4, [&](auto tile, dim3 grid) {
      launch_overlapping(split_k_kernel<T, decltype(tile)>, grid, kThreads, tile.kShared, stream, work);
    });
  });
}

}  // namespace nd::kernels::cuda
