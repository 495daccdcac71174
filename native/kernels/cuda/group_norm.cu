#include "kernels/cuda/group_norm_block.cuh"

namespace nd::kernels::cuda {

namespace {

/// The block keeps its piece in shared memory: mean, then Σ(x − mean)², then either y, or the piece's moments where the
/// image has several. kParts: a vector's channels fall into so many parts, each of one group.
template <typename T, int kVector, int kParts>
__global__ void __launch_bounds__(kMostThreads) piece_kernel(Work<T> work) {
  constexpr int part_channels = kVector / kParts;
  const int threads = static_cast<int>(blockDim.x), thread = static_cast<int>(threadIdx.x);
  const int64_t slice_channels = work.slices.slice_channels;
  T* tile = reinterpret_cast<T*>(shared_memory());
  auto* channels = reinterpret_cast<Affine*>(
      shared_memory() + (work.slices.chunk_pixels * slice_channels * static_cast<int64_t>(sizeof(T)) + 15) / 16 * 16);
  auto* parts = reinterpret_cast<Sums*>(channels + slice_channels);
  auto* scratch = parts + slice_channels;
  auto* groups = reinterpret_cast<GroupStatistics*>(scratch + threads * kParts);

  for (int64_t item = blockIdx.x; item < work.items(); item += gridDim.x) {
    const Piece piece(work, item);
    const int parts_of_group = piece.group_channels / part_channels, all_parts = piece.groups * parts_of_group;
    const float count = static_cast<float>(piece.pixels) * static_cast<float>(piece.group_channels);
    const Columns<kVector> c(piece.channels);

    // 1. the mean
    for (int first = 0; first < c.vectors; first += c.columns) {
      const int column = first + c.column;
      Sums sums[kParts] = {};
      if (c.row < c.rows && column < c.vectors) {
        float added[kVector];
        load_added(work, piece, column * kVector, added);
        const T* x = work.x + piece.first_element + column * kVector;
#pragma unroll 4
        for (int pixel = c.row; pixel < piece.pixels; pixel += c.rows) {
          const auto raw = *reinterpret_cast<const Lanes<T, kVector>*>(x + pixel * work.shape.channels);
          *reinterpret_cast<Lanes<T, kVector>*>(tile + pixel * piece.channels + column * kVector) = raw;
#pragma unroll
          for (int i = 0; i < kVector; ++i) sums[i / part_channels].first += to_float(raw.lane[i]) + added[i];
        }
      }
      reduce<kParts>(c, sums, scratch, parts + first * kParts, all_parts - first * kParts);
    }
    for (int g = thread; g < piece.groups; g += threads) {
      groups[g].mean = sum_of_group(parts, g, parts_of_group).first / count;
    }
    __syncthreads();

    // 2. the squares, and what rounding left of the sum (Chan, Golub & LeVeque 1983, the corrected two-pass algorithm)
    for (int first = 0; first < c.vectors; first += c.columns) {
      const int column = first + c.column;
      Sums sums[kParts] = {};
      if (c.row < c.rows && column < c.vectors) {
        float added[kVector], mean[kParts];
        load_added(work, piece, column * kVector, added);
#pragma unroll
        for (int k = 0; k < kParts; ++k) mean[k] = groups[(column * kParts + k) / parts_of_group].mean;
#pragma unroll 2
        for (int pixel = c.row; pixel < piece.pixels; pixel += c.rows) {
          float v[kVector];
          load(tile + pixel * piece.channels + column * kVector, v);
#pragma unroll
          for (int i = 0; i < kVector; ++i) {
            Sums& sum = sums[i / part_channels];
            const float d = v[i] + added[i] - mean[i / part_channels];
            sum.first += d;
            sum.second = fmaf(d, d, sum.second);
          }
        }
      }
      reduce<kParts>(c, sums, scratch, parts + first * kParts, all_parts - first * kParts);
    }
    for (int g = thread; g < piece.groups; g += threads) {
      const Sums sum = sum_of_group(parts, g, parts_of_group);
      const float correction = sum.first / count;
      float squares = fmaf(-sum.first, correction, sum.second);
      if (squares < 0.0F) squares = 0.0F;  // NaN stays
      if (work.moments != nullptr) {
        work.moments[(piece.sample * work.slices.chunks + piece.chunk) * work.shape.groups + piece.first_group + g] = {
            groups[g].mean + correction, squares};
      }
      groups[g].correction = correction;
      groups[g].inverse_deviation = 1.0F / sqrtf(squares / count + work.parameters.eps);
    }
    __syncthreads();
    if (work.moments != nullptr) continue;

    // 3. y
    make_affine(work, piece, groups, channels);
    for (int column = c.column; column < c.vectors && c.row < c.rows; column += c.columns) {
      normalise_column(c, tile + column * kVector, int64_t{piece.channels},
                       work.y + piece.first_element + column * kVector, work.shape.channels, piece.pixels,
                       channels + column * kVector, work.parameters.activation == NormActivation::silu);
    }
    __syncthreads();
  }
}

struct CountedMoments {
  float count, mean, squares;
};

/// Chan, Golub & LeVeque 1979: two sets' moments into one's.
__device__ __forceinline__ CountedMoments merged(CountedMoments a, CountedMoments b) {
  const float count = a.count + b.count, share = b.count / count, delta = b.mean - a.mean;
  return {count, fmaf(delta, share, a.mean), a.squares + fmaf(delta * delta, a.count * share, b.squares)};
}

constexpr int kLanes = 16;  // of a group, each of which merges every kLanes-th chunk

/// y from x, and from the moments of all chunks.
template <typename T, int kVector>
__global__ void __launch_bounds__(kMostThreads) apply_kernel(Work<T> work) {
  const int threads = static_cast<int>(blockDim.x), thread = static_cast<int>(threadIdx.x);
  auto* channels = reinterpret_cast<Affine*>(shared_memory());
  auto* lanes = reinterpret_cast<CountedMoments*>(channels + work.slices.slice_channels);
  auto* groups = reinterpret_cast<GroupStatistics*>(lanes + kLanes * work.slices.slice_groups);
  const int chunks = static_cast<int>(work.slices.chunks), lane_count = min(kLanes, chunks);
  const float group_channels = static_cast<float>(work.slices.group_channels);

  for (int64_t item = blockIdx.x; item < work.items(); item += gridDim.x) {
    const Piece piece(work, item);
    for (int i = thread; i < lane_count * piece.groups; i += threads) {
      const int64_t group = piece.first_group + i % piece.groups;
      const Moments* of_group = work.moments + piece.sample * chunks * work.shape.groups + group;
      CountedMoments sum{0.0F, 0.0F, 0.0F};
#pragma unroll 4
      for (int64_t chunk = i / piece.groups; chunk < chunks; chunk += lane_count) {
        const Moments m = of_group[chunk * work.shape.groups];
        const int64_t pixels = min(work.slices.chunk_pixels, work.shape.pixels - chunk * work.slices.chunk_pixels);
        sum = merged(sum, {static_cast<float>(pixels) * group_channels, m.mean, m.squares});
      }
      lanes[i] = sum;
    }
    __syncthreads();
    for (int g = thread; g < piece.groups; g += threads) {
      CountedMoments sum = lanes[g];
      for (int lane = 1; lane < lane_count; ++lane) sum = merged(sum, lanes[lane * piece.groups + g]);
      groups[g] = {sum.mean, 0.0F, 1.0F / sqrtf(sum.squares / sum.count + work.parameters.eps)};
    }
    __syncthreads();
    make_affine(work, piece, groups, channels);
    const Columns<kVector> c(piece.channels);
    for (int column = c.column; column < c.vectors && c.row < c.rows; column += c.columns) {
      const int64_t first = piece.first_element + column * kVector;
      normalise_column(c, work.x + first, work.shape.channels, work.y + first, work.shape.channels, piece.pixels,
                       channels + column * kVector, work.parameters.activation == NormActivation::silu);
    }
    __syncthreads();
  }
}

int64_t shared_limit_of(const GroupNormCall& call) {
  if (call.shared_limit > 0) return call.shared_limit;
  int device = 0, bytes = 0;
  check(cudaGetDevice(&device), "device");
  check(cudaDeviceGetAttribute(&bytes, cudaDevAttrMaxSharedMemoryPerBlockOptin, device), "shared memory's limit");
  return bytes;
}

int64_t bytes_of(Element element) { return element == Element::f32 ? 4 : 2; }

/// Throws where the shape makes no sense.
Slices checked_slices(const GroupNormCall& call) {
  const GroupNormShape& shape = call.shape;
  if (shape.groups <= 0 || shape.channels % shape.groups != 0) {
    fail(ErrorCode::shape, "group_norm: ", shape.channels, " channels in ", shape.groups, " groups");
  }
  return slices_of(shape, bytes_of(call.element), shared_limit_of(call));
}

bool is_empty(const GroupNormShape& shape) { return shape.batch <= 0 || shape.pixels <= 0 || shape.channels <= 0; }

template <typename T, int kVector, int kParts>
void run(const GroupNormCall& call, Work<T> work, Stream stream) {
  const Slices& s = work.slices;
  const int64_t channels = s.slice_channels, vectors = s.chunk_pixels * channels / kVector;
  constexpr int64_t vectors_a_thread = 4;
  const int64_t wanted = (vectors + 32 * vectors_a_thread - 1) / (32 * vectors_a_thread) * 32;
  const int threads = static_cast<int>(std::min<int64_t>(wanted, kMostThreads));
  const int64_t shared = shared_bytes(s.chunk_pixels * channels * static_cast<int64_t>(sizeof(T)), channels,
                                      s.slice_groups, threads, kParts);
  if (shared > shared_limit_of(call)) {
    fail(ErrorCode::shape, "group_norm: shared memory holds no pixel of a group of ", s.group_channels, " channels");
  }
  const dim3 grid(blocks_for(work.items(), 1));
  launch(piece_kernel<T, kVector, kParts>, grid, threads, static_cast<size_t>(shared), stream, work);
  if (work.moments == nullptr) return;
  constexpr size_t bytes_a_group = kLanes * sizeof(CountedMoments) + sizeof(GroupStatistics);
  const size_t apply_shared =
      static_cast<size_t>(channels) * sizeof(Affine) + static_cast<size_t>(s.slice_groups) * bytes_a_group;
  launch(apply_kernel<T, kVector>, grid, threads, apply_shared, stream, work);
}

}  // namespace

size_t group_norm_workspace(const GroupNormCall& call) {
  if (is_empty(call.shape)) return 0;
  const Slices s = checked_slices(call);
  return s.chunks == 1 ? 0 : static_cast<size_t>(call.shape.batch * s.chunks * call.shape.groups) * sizeof(Moments);
}

void group_norm(const GroupNormCall& call, const void* x, void* y, void* workspace, Stream stream) {
  if (is_empty(call.shape)) return;
  const Slices slices = checked_slices(call);
  if (slices.chunks > 1 && workspace == nullptr) fail(ErrorCode::argument, "group_norm: no workspace");
  dispatch(call.element, [&](auto type) {
    using T = typename decltype(type)::type;
    constexpr int vector = kVectorOf<T>;
    const Work<T> work{static_cast<const T*>(x), static_cast<T*>(y), call.shape, call.parameters, call.add,
                       call.add_stride, slices, slices.chunks > 1 ? static_cast<Moments*>(workspace) : nullptr};
    if (call.shape.channels % vector != 0 || !aligned_16(x) || !aligned_16(y)) return run<T, 1, 1>(call, work, stream);
    if (slices.group_channels % vector == 0) return run<T, vector, 1>(call, work, stream);
    if (vector == 8 && slices.group_channels % 4 == 0) return run<T, vector, vector / 4>(call, work, stream);
    return run<T, vector, vector>(call, work, stream);
  });
}

}  // namespace nd::kernels::cuda
