#include "kernels/cuda/elements.cuh"
#include "kernels/cuda/scalar_lane.cuh"

// A thread takes four neighbouring counters of Philox, whose words are four runs of four elements, 16 elements apart.

namespace nd::kernels::cuda {

namespace {

constexpr int kThreads = 128, kRun = 4, kRuns = 4;
constexpr int64_t kRunStride = kPhiloxCounters;
constexpr int64_t kQuarters = kPhiloxCounters / kRun;  // threads of a group

__host__ __device__ constexpr int64_t groups_of(int64_t numel) { return (numel + kPhiloxGroup - 1) / kPhiloxGroup; }

/// z[j]: the run of word j.
__device__ __forceinline__ void make_normals(int64_t group, int quarter, uint64_t seed, uint32_t draw,
                                             float (&z)[kRuns][kRun]) {
#pragma unroll
  for (int lane = 0; lane < kRun; ++lane) {
    float of_counter[1][4];
    const int64_t counter = group * kPhiloxCounters + quarter * kRun + lane;
    philox_normals<1>(static_cast<uint64_t>(counter), seed, draw, of_counter);
#pragma unroll
    for (int j = 0; j < kRuns; ++j) z[j][lane] = of_counter[0][j];
  }
}

/// The first n elements of a run, in one access where it is whole and aligned.
__device__ __forceinline__ void get(const float* p, int64_t n, bool aligned, float (&v)[kRun]) {
  if (aligned && n >= kRun) return load(p, v);
#pragma unroll
  for (int i = 0; i < kRun; ++i) v[i] = i < n ? p[i] : 0.0F;
}
__device__ __forceinline__ void put(float* p, int64_t n, bool aligned, const float (&v)[kRun]) {
  if (aligned && n >= kRun) return store(p, v);
#pragma unroll
  for (int i = 0; i < kRun; ++i) {
    if (i < n) p[i] = v[i];
  }
}

/// Where the model's output of a sample has its elements; a cursor that moves on over [channels, pixels].
template <typename T>
struct OutputCursor {
  const T* data;
  int64_t channel_stride, pixel_stride, pixels;
  int64_t channel, pixel;

  __device__ __forceinline__ OutputCursor(const T* of_sample, int64_t channel_stride, int64_t pixel_stride,
                                          int64_t pixels, int64_t element)
      : data(of_sample), channel_stride(channel_stride), pixel_stride(pixel_stride), pixels(pixels),
        channel(element / pixels), pixel(element - channel * pixels) {}

  __device__ __forceinline__ void skip(int64_t elements) {
    for (pixel += elements; pixel >= pixels; pixel -= pixels) ++channel;
  }

  __device__ __forceinline__ void get(int64_t n, float (&v)[kRun]) const {
    const T* p = data + channel * channel_stride + pixel * pixel_stride;
    if (n >= kRun && pixel + kRun <= pixels) {
      if (pixel_stride == 1 && reinterpret_cast<uintptr_t>(p) % sizeof(Lanes<T, kRun>) == 0) return load(p, v);
#pragma unroll
      for (int i = 0; i < kRun; ++i) v[i] = to_float(p[i * pixel_stride]);
      return;
    }
    int64_t at = pixel;
#pragma unroll
    for (int i = 0; i < kRun; ++i) {
      v[i] = i < n ? to_float(*p) : 0.0F;
      p += pixel_stride;
      if (++at == pixels) at = 0, p += channel_stride - pixels * pixel_stride;
    }
  }
};

/// √ of the learned variance v, or σ.
__device__ __forceinline__ float deviation(const StepRow& row, LearnedVariance learned, float v) {
  if (learned == LearnedVariance::none) return row.sigma;
  if (learned == LearnedVariance::direct) return sqrtf(v);
  const float fraction = (v + 1.0F) * 0.5F;
  const float log_variance = fraction * row.log_beta + (1.0F - fraction) * row.log_posterior_variance;
  return exp<false>(0.5F * log_variance);
}

/// One element; x becomes x_s, and x0 is returned. The order of operations is step_reference.cpp's.
__device__ __forceinline__ float step(const StepRow& row, float k, float& x, float out) {
  // 1. x0, from the model's prediction
  float x0 = (row.p * x + row.q * out) / row.d;
  // 2. clip; NaN stays
  x0 = at_most(at_least(x0, -row.bound), row.bound);
  if (k != 1.0F) x0 = x0 / k;
  // 3. x_s without noise
  x = row.c_x0 * x0 + row.c_xt * x + row.c_out * out;
  return x0;
}

/// The elements of one thread's four runs.
template <typename T>
__device__ __forceinline__ void step_runs(const DeviceStep& s, int64_t group, int quarter, int64_t channels,
                                          int64_t pixels, const T* out_of_sample, int64_t channel_stride,
                                          int64_t pixel_stride) {
  const int64_t numel = channels * pixels, first = group * kPhiloxGroup + quarter * kRun;
  if (first >= numel) return;
  const bool x_aligned = aligned_16(s.x);
  float x[kRuns][kRun], out[kRuns][kRun];
  OutputCursor<T> cursor(out_of_sample, channel_stride, pixel_stride, pixels, first);
#pragma unroll
  for (int j = 0; j < kRuns; ++j) {
    const int64_t e = first + j * kRunStride;
    get(s.x + e, numel - e, x_aligned, x[j]);
    cursor.get(numel - e, out[j]);
    cursor.skip(kRunStride);
  }

  const bool given = s.noise != nullptr, noisy = s.row.sigma != 0.0F && (given || s.draws_philox);
  float z[kRuns][kRun];
  if (noisy && !given) make_normals(group, quarter, s.seed, s.draw, z);
  const bool noise_aligned = aligned_16(s.noise), x0_aligned = aligned_16(s.x0);
  OutputCursor<T> variances(out_of_sample + channels * channel_stride, channel_stride, pixel_stride, pixels, first);
#pragma unroll
  for (int j = 0; j < kRuns; ++j) {
    const int64_t e = first + j * kRunStride, n = numel - e;
    float x0[kRun];
#pragma unroll
    for (int i = 0; i < kRun; ++i) x0[i] = step(s.row, s.k, x[j][i], out[j][i]);
    // 4. noise
    if (noisy) {
      float variance[kRun] = {};
      if (given) get(s.noise + e, n, noise_aligned, z[j]);
      if (s.learned != LearnedVariance::none) variances.get(n, variance);
#pragma unroll
      for (int i = 0; i < kRun; ++i) x[j][i] += deviation(s.row, s.learned, variance[i]) * z[j][i];
    }
    variances.skip(kRunStride);
    if (s.x0 != nullptr) put(s.x0 + e, n, x0_aligned, x0);
    put(s.x + e, n, x_aligned, x[j]);
  }
}

template <typename T>
__global__ void __launch_bounds__(kThreads, 4)
    step_kernel(const DeviceStep* steps, int64_t count, int64_t channels, int64_t pixels, const T* out,
                int64_t sample_stride, int64_t channel_stride, int64_t pixel_stride) {
  const int64_t groups = groups_of(channels * pixels);
  for (int64_t sample = blockIdx.y; sample < count; sample += gridDim.y) {
    DeviceStep s = steps[sample];
    if (!s.active) continue;
    s.x = in_global(s.x);
    s.noise = in_global(s.noise);
    s.x0 = in_global(s.x0);
    for (int64_t i = first_item(); i < groups * kQuarters; i += all_threads()) {
      // A block takes the same pixels of every channel, which lie together in the model's output.
      const int64_t turn = i / kQuarters;
      const bool whole = pixels % kPhiloxGroup == 0;
      const int64_t group = whole ? turn % channels * (pixels / kPhiloxGroup) + turn / channels : turn;
      step_runs(s, group, static_cast<int>(i % kQuarters), channels, pixels, out + sample * sample_stride,
                channel_stride, pixel_stride);
    }
  }
}

__global__ void __launch_bounds__(kThreads) normal_kernel(const PhiloxDraw* draws, int64_t count, int64_t numel) {
  for (int64_t sample = blockIdx.y; sample < count; sample += gridDim.y) {
    const PhiloxDraw draw = draws[sample];
    float* to = in_global(draw.to);
    const bool whole = aligned_16(to);
    for (int64_t i = first_item(); i < groups_of(numel) * kQuarters; i += all_threads()) {
      const int64_t group = i / kQuarters;
      const int quarter = static_cast<int>(i % kQuarters);
      float z[kRuns][kRun];
      make_normals(group, quarter, draw.seed, draw.draw, z);
#pragma unroll
      for (int j = 0; j < kRuns; ++j) {
        const int64_t e = group * kPhiloxGroup + j * kRunStride + quarter * kRun;
        put(to + e, numel - e, whole, z[j]);
      }
    }
  }
}

/// A thread writes kCount neighbours of [pixels, channels].
template <typename T, int kCount>
__global__ void __launch_bounds__(kThreads) gather_kernel(const DeviceStep* steps, int64_t count, int64_t channels,
                                                          int64_t pixels, T* to, int64_t* timesteps) {
  const int64_t numel = channels * pixels;
  for (int64_t sample = blockIdx.y; sample < count; sample += gridDim.y) {
    const float* x = in_global(steps[sample].x);
    const bool active = steps[sample].active;
    if (blockIdx.x == 0 && threadIdx.x == 0) timesteps[sample] = active ? steps[sample].timestep : 0;
    for (int64_t i = first_item(); i < numel / kCount; i += all_threads()) {
      int64_t pixel = i * kCount / channels, channel = i * kCount - pixel * channels;
      float v[kCount];
#pragma unroll
      for (int j = 0; j < kCount; ++j) {
        v[j] = active ? x[channel * pixels + pixel] : 0.0F;
        if (++channel == channels) channel = 0, ++pixel;
      }
      store(to + sample * numel + i * kCount, v);
    }
  }
}

}  // namespace

void gather_samples(const DeviceStep* steps, int64_t count, int64_t channels, int64_t pixels, Element element, void* to,
                    int64_t* timesteps, Stream stream) {
  const int64_t numel = channels * pixels;
  if (count <= 0 || numel <= 0) return;
  dispatch(element, [&](auto type) {
    using T = typename decltype(type)::type;
    const auto run = [&](auto kernel, int64_t items) {
      launch(kernel, grid_for(items, count, kThreads), kThreads, 0, stream, steps, count, channels, pixels,
             static_cast<T*>(to), timesteps);
    };
    if (aligned_16(to) && numel % kVectorOf<T> == 0) {
      run(gather_kernel<T, kVectorOf<T>>, numel / kVectorOf<T>);
    } else {
      run(gather_kernel<T, 1>, numel);
    }
  });
}

void fused_step(const DeviceStep* steps, int64_t count, int64_t channels, int64_t pixels, const ModelOutput& out,
                Stream stream) {
  const int64_t numel = channels * pixels;
  if (count <= 0 || numel <= 0) return;
  dispatch(out.element, [&](auto type) {
    using T = typename decltype(type)::type;
    launch(step_kernel<T>, grid_for(groups_of(numel) * kQuarters, count, kThreads), kThreads, 0, stream, steps, count,
           channels, pixels, static_cast<const T*>(out.data), out.sample_stride, out.channel_stride, out.pixel_stride);
  });
}

void philox_normal(const PhiloxDraw* draws, int64_t count, int64_t numel, Stream stream) {
  if (count <= 0 || numel <= 0) return;
  launch(normal_kernel, grid_for(groups_of(numel) * kQuarters, count, kThreads), kThreads, 0, stream, draws, count, numel);
}

}  // namespace nd::kernels::cuda
