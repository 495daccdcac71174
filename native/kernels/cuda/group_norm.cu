#include "kernels/cuda/group_norm_block.cuh"

namespace nd::kernels::cuda {

namespace {

/// Threads of a block at most, and the blocks of that size that an SM must be able to take: 64 registers a thread.
template <int kHeld>
constexpr int kBoundThreads = kHeld > kMostWideHeld ? kMostThreads : kMostWideThreads;
template <int kHeld>
constexpr int kBoundBlocks = kMostWideThreads / kBoundThreads<kHeld>;

/// A block, or a cluster's together, hold a piece in registers: a pivot, then Σ(x − pivot)² and Σ(x − pivot), then either y, or the
/// piece's moments where the image has several (Chan, Golub & LeVeque 1983). The pivot of floats is the mean, and what the second sum has is
/// the rounding that the first left: the corrected two-pass algorithm. That of halves is some values' mean. With the pivot k
/// deviations from the mean the variance keeps a relative error of some k²·2⁻²⁴: under a half's rounding while k < 60, and no
/// value of n is further than √n. If nearly all values are equal and the pivot's are not, which no image's middle is known to
/// do, k²·2⁻²⁰ was seen.
template <typename T, int kVector, int kParts, int kHeld>
__global__ void __launch_bounds__(kBoundThreads<kHeld>, kBoundBlocks<kHeld>) piece_kernel(Work<T> work) {
  let_next_begin();
  using At = Place<T, kVector, kParts>;
  const Slices& s = work.slices;
  auto* scratch = reinterpret_cast<float*>(shared_memory());
  const Affine<T> affine(scratch + 2 * kParts * s.threads, s);
  float* pivots = affine.shift + s.slice_channels;
  float* of_blocks = pivots + s.slice_groups;
  const Piece piece(work, blockIdx.x, /*backwards=*/true);
  const At place(work, piece);
  const float count = static_cast<float>(piece.pixels) * static_cast<float>(s.group_channels);

  Held<T, kVector> held[kHeld];
  const auto each = [&](const At& of, const auto& visit) {
#pragma unroll
    for (int j = 0; j < kHeld; ++j) {
      if (j * of.cluster_rows < of.left) visit(j, held[j]);
    }
  };
  const auto keep_packed = [&] {
#pragma unroll
    for (int j = 0; j < kHeld; ++j) held[j].keep_packed();
  };
  wait_for_previous();
  each(place, [&](int j, Held<T, kVector>& to) { to.load(place.x + j * place.x_step); });

  // 1. the pivot
  const auto group_of = [&](int part) { return quotient(place.column * kParts + part, work.by_parts); };
  begin<sizeof(T) == 2 ? At::kPartChannels : 0>(work, piece, affine, pivots);
  __syncthreads();
  float shift[kVector] = {};
  if (place.left > 0) load_floats(affine.shift + place.column * kVector, shift);
  if constexpr (sizeof(T) != 2) {
    float sums[kParts][1] = {}, pixels = 0;
    each(place, [&](int, const Held<T, kVector>& x) {
      pixels += 1.0F;
#pragma unroll
      for (int k = 0; k < kParts; ++k) {
        sums[k][0] += pairwise<At::kPartChannels>([&](int i) { return x[i]; }, k * At::kPartChannels);
      }
    });
#pragma unroll
    for (int k = 0; k < kParts; ++k) {
      sums[k][0] = fmaf(pixels, pairwise<At::kPartChannels>([&](int i) { return shift[i]; }, k * At::kPartChannels), sums[k][0]);
    }
    sum_groups(work, piece, place.column, sums, scratch, of_blocks + 2 * s.slice_groups, [&](int group, int lane, const float (&sum)[1]) {
      if (lane == 0) pivots[group] = sum[0] / count;
    });
  }
  float pivot[kParts] = {};
  if (place.left > 0) {
#pragma unroll
    for (int k = 0; k < kParts; ++k) pivot[k] = pivots[group_of(k)];
  }
  keep_packed();

  // 2. the sums of the differences and their squares
  float both[kParts][2] = {};
  if (place.left > 0) {
#pragma unroll
    for (int i = 0; i < kVector; ++i) shift[i] -= pivot[i / At::kPartChannels];
  }
  each(place, [&](int, const Held<T, kVector>& x) {
#pragma unroll
    for (int i = 0; i < kVector; ++i) {
      auto& sum = both[i / At::kPartChannels];
      const float d = x[i] + shift[i];
      sum[0] += d;
      sum[1] = fmaf(d, d, sum[1]);
    }
  });
  sum_groups(work, piece, place.column, both, scratch, of_blocks, [&](int group, int lane, const float (&sum)[2]) {
    const float correction = sum[0] / count;
    float squares = fmaf(-sum[0], correction, sum[1]);
    if (squares < 0.0F) squares = 0.0F;  // NaN stays
    if (work.moments == nullptr) {
      affine.finish(s, group, lane, kMostCluster, pivots[group], correction, 1.0F / sqrtf(squares / count + work.parameters.eps));
    } else if (lane == 0) {
      work.moments[(int64_t{piece.sample} * s.chunks + piece.chunk) * work.shape.groups + piece.first_group + group] = {
          pivots[group] + correction, squares};
    }
  });
  if (work.moments != nullptr) return;
  if (s.cluster > 1) cluster_arrive();
  keep_packed();

  // 3. y
  // Anew: the pixels take the registers that these would have been kept in.
  uint32_t index = blockIdx.x;
  forget(index);
  const At again(work, Piece(work, index, /*backwards=*/true));
  if (again.left > 0) {
    activated<T>(work.parameters.activation, [&](const auto& activate) {
      using Some = AffinePart<T, kVector>;
#pragma unroll
      for (int part = 0; part < Some::kAll; ++part) {
        const Some of_part(affine, again.column, part);
        each(again, [&](int, Held<T, kVector>& x) {
          float y[Some::kCount];
#pragma unroll
          for (int i = 0; i < Some::kCount; ++i) y[i] = activate(of_part(x[part * Some::kCount + i], i));
          x.replace(part * Some::kCount, y);
        });
      }
      each(again, [&](int j, const Held<T, kVector>& y) { y.store(again.y + j * again.y_step); });
    });
  }
  if (s.cluster > 1) cluster_wait();  // nobody reads this block's sums any more
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
template <typename T, int kVector, int kParts>
__global__ void __launch_bounds__(kMostWideThreads) apply_kernel(Work<T> work) {
  let_next_begin();
  const Slices& s = work.slices;
  auto* lanes = reinterpret_cast<CountedMoments*>(shared_memory());
  const Affine<T> affine(reinterpret_cast<float*>(lanes + kLanes * s.slice_groups), s);
  const int thread = static_cast<int>(threadIdx.x), lane_count = min(kLanes, s.chunks);
  const float group_channels = static_cast<float>(s.group_channels);
  const Piece piece(work, blockIdx.x, /*backwards=*/false);  // piece_kernel ended with the first

  wait_for_previous();
  // Means are merged as differences from the first chunk's: where the mean dwarfs the deviation, they keep their places.
  const Moments* of_groups = work.moments + int64_t{piece.sample} * s.chunks * work.shape.groups + piece.first_group;
  for (int i = thread; i < lane_count * piece.groups; i += s.threads) {
    const Moments* of_group = of_groups + i % piece.groups;
    const float first_mean = of_group->mean;
    CountedMoments sum{0.0F, 0.0F, 0.0F};
#pragma unroll 4
    for (int chunk = i / piece.groups; chunk < s.chunks; chunk += lane_count) {
      const Moments m = of_group[chunk * work.shape.groups];
      const int pixels = min(s.chunk_pixels, static_cast<int>(work.shape.pixels) - chunk * s.chunk_pixels);
      sum = merged(sum, {static_cast<float>(pixels) * group_channels, m.mean - first_mean, m.squares});
    }
    lanes[i] = sum;
  }
  begin<0>(work, piece, affine, nullptr);
  __syncthreads();
  for (int i = thread; i < piece.groups * kLanes; i += s.threads) {
    const int group = i / kLanes;
    CountedMoments sum = lanes[group];
    for (int lane = 1; lane < lane_count; ++lane) sum = merged(sum, lanes[lane * piece.groups + group]);
    affine.finish(s, group, i % kLanes, kLanes, of_groups[group].mean, sum.mean,
                  1.0F / sqrtf(sum.squares / sum.count + work.parameters.eps));
  }
  __syncthreads();
  const Place<T, kVector, kParts> place(work, piece);
  if (place.left == 0) return;
  using Some = AffinePart<T, kVector>;
  const Some first(affine, place.column, 0), last(affine, place.column, Some::kAll - 1);
  activated<T>(work.parameters.activation, [&](const auto& activate) {
    const T* x = place.x;
    T* y = place.y;
#pragma unroll 4
    for (int pixel = 0; pixel < place.left; pixel += place.cluster_rows) {
      float v[kVector];
      load(x, v);
#pragma unroll
      for (int i = 0; i < kVector; ++i) v[i] = activate((i < Some::kCount ? first : last)(v[i], i % Some::kCount));
      store(y, v);
      x += place.x_step;
      y += place.y_step;
    }
  });
}

int64_t bytes_of(Element element) { return element == Element::f32 ? 4 : 2; }

int64_t first_channels_of(const GroupNormCall& call) {
  return call.second == nullptr ? call.shape.channels : call.first_channels;
}

/// Channels of an access: a whole vector where shape and memory allow it.
int64_t vector_of(const GroupNormCall& call, const void* x, const void* y) {
  const int64_t vector = 16 / bytes_of(call.element);
  const bool whole = call.shape.channels % vector == 0 && first_channels_of(call) % vector == 0;
  return whole && aligned_16(x) && aligned_16(call.second) && aligned_16(y) ? vector : 1;
}

/// Throws where the shape makes no sense.
Slices checked_slices(const GroupNormCall& call, int64_t vector) {
  const GroupNormShape& shape = call.shape;
  if (shape.groups <= 0 || shape.channels % shape.groups != 0) {
    fail(ErrorCode::shape, "group_norm: ", shape.channels, " channels in ", shape.groups, " groups");
  }
  const bool clusters = has_hopper_code(reinterpret_cast<const void*>(piece_kernel<float, 4, 1, kHeldPixels[0]>));
  const int64_t most_cluster = !clusters ? 1 : call.most_cluster == 0 ? kMostCluster : std::min<int64_t>(call.most_cluster, kMostCluster);
  const Slices slices = slices_of(shape, bytes_of(call.element), vector, call.chunk_pixels, {processors(), most_cluster});
  if (slices.chunk_pixels == 0) {
    fail(ErrorCode::shape, "group_norm: a block holds no pixel of a group of ", slices.group_channels, " channels");
  }
  return slices;
}

bool is_empty(const GroupNormShape& shape) { return shape.batch <= 0 || shape.pixels <= 0 || shape.channels <= 0; }

template <typename T, int kVector, int kParts>
void run(Work<T> work, Stream stream) {
  const Slices& s = work.slices;
  work.parts_of_group = s.group_channels / (kVector / kParts);
  work.by_parts = divisor(work.parts_of_group);
  const int64_t items = work.shape.batch * s.chunks * s.slices * s.cluster;
  if (items > kMostBlocks) fail(ErrorCode::shape, "group_norm: ", work.shape.batch, " samples are too many for one call");
  const dim3 grid(static_cast<unsigned>(items));
  const auto shared = static_cast<size_t>(shared_bytes(s, kParts));
  static_assert(std::size(kHeldPixels) == 3);
  const auto piece = s.held == kHeldPixels[0]   ? piece_kernel<T, kVector, kParts, kHeldPixels[0]>
                     : s.held == kHeldPixels[1] ? piece_kernel<T, kVector, kParts, kHeldPixels[1]>
                                                : piece_kernel<T, kVector, kParts, kHeldPixels[2]>;
  launch_clusters(piece, grid, s.cluster, s.threads, shared, stream, work);
  if (work.moments == nullptr) return;
  const size_t apply_shared = static_cast<size_t>(kLanes * s.slice_groups) * sizeof(CountedMoments) + static_cast<size_t>(shared_bytes(s, 0));
  launch_overlapping(apply_kernel<T, kVector, kParts>, grid, s.threads, apply_shared, stream, work);
}

}  // namespace

size_t group_norm_workspace(const GroupNormCall& call, const void* x, const void* y) {
  if (is_empty(call.shape)) return 0;
  const Slices s = checked_slices(call, vector_of(call, x, y));
  return s.chunks == 1 ? 0 : static_cast<size_t>(call.shape.batch * s.chunks * call.shape.groups) * sizeof(Moments);
}

void group_norm(const GroupNormCall& call, const void* x, void* y, void* workspace, Stream stream) {
  if (is_empty(call.shape)) return;
  const int64_t vector = vector_of(call, x, y);
  const Slices slices = checked_slices(call, vector);
  if (slices.chunks > 1 && workspace == nullptr) fail(ErrorCode::argument, "group_norm: no workspace");
  dispatch(call.element, [&](auto type) {
    using T = typename decltype(type)::type;
    constexpr int whole = kVectorOf<T>;
    const Work<T> work{static_cast<const T*>(x), static_cast<const T*>(call.second), first_channels_of(call),
                       static_cast<T*>(y), call.shape, call.parameters, call.add, call.add_stride, slices, 0, {},
                       slices.chunks > 1 ? static_cast<Moments*>(workspace) : nullptr};
    const int64_t part = part_channels(slices.group_channels, vector);
    if (vector == 1) return run<T, 1, 1>(work, stream);
    if (part == whole) return run<T, whole, 1>(work, stream);
    if (part == 4) return run<T, whole, whole / 4>(work, stream);
    return run<T, whole, whole>(work, stream);
  });
}

}  // namespace nd::kernels::cuda
