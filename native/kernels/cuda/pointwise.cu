#include "kernels/cuda/elements.cuh"

namespace nd::kernels::cuda {

namespace {

constexpr int kThreads = 256;

/// sum[i] += row[i], where there is a row.
template <int kCount>
__device__ __forceinline__ void add_row(const float* row, float (&sum)[kCount]) {
  if (row == nullptr) return;
  float v[kCount];
  load_row(row, v);
#pragma unroll
  for (int i = 0; i < kCount; ++i) sum[i] += v[i];
}

template <typename T, int kCount>
__global__ void __launch_bounds__(kThreads)
    bias_residual_kernel(const T* conv, const float* bias, const float* add, int64_t add_stride, const T* residual,
                         float scale, T* y, int64_t numel, int64_t sample_numel, int64_t channels) {
  for (int64_t i = first_item(); i < numel / kCount; i += all_threads()) {
    const int64_t e = i * kCount, channel = e % channels;
    float v[kCount];
    load(conv + e, v);
    add_row(bias == nullptr ? nullptr : bias + channel, v);
    add_row(add == nullptr ? nullptr : add + e / sample_numel * add_stride + channel, v);
    if (residual != nullptr) {
      float more[kCount];
      load(residual + e, more);
#pragma unroll
      for (int j = 0; j < kCount; ++j) v[j] += more[j];
    }
#pragma unroll
    for (int j = 0; j < kCount; ++j) v[j] *= scale;
    store(y + e, v);
  }
}

__global__ void __launch_bounds__(kThreads) gather_rows_kernel(const float* table, int64_t width, const int64_t* rows,
                                                               int64_t count, int64_t table_rows, float* to) {
  for (int64_t at = blockIdx.y; at < count; at += gridDim.y) {
    const int64_t row = rows[at];
    const bool there = row >= 0 && row < table_rows;
    for (int64_t i = first_item(); i < width; i += all_threads()) {
      to[at * width + i] = there ? table[row * width + i] : __uint_as_float(0x7FC00000);  // NaN
    }
  }
}

}  // namespace

void add_bias_residual(Element element, const void* conv, const float* bias, const float* add, int64_t add_stride,
                       const void* residual, float scale, void* y, int64_t batch, int64_t pixels, int64_t channels,
                       Stream stream) {
  const int64_t numel = batch * pixels * channels;
  if (numel <= 0) return;
  dispatch(element, [&](auto type) {
    using T = typename decltype(type)::type;
    const auto run = [&](auto kernel, int64_t items) {
      launch(kernel, dim3(blocks_for(items, kThreads)), kThreads, 0, stream, static_cast<const T*>(conv), bias, add,
             add_stride, static_cast<const T*>(residual), scale, static_cast<T*>(y), numel, pixels * channels,
             channels);
    };
    if (channels % kVectorOf<T> == 0 && aligned_16(conv) && aligned_16(residual) && aligned_16(y)) {
      run(bias_residual_kernel<T, kVectorOf<T>>, numel / kVectorOf<T>);
    } else {
      run(bias_residual_kernel<T, 1>, numel);
    }
  });
}

void gather_rows(const float* table, int64_t width, const int64_t* rows, int64_t count, int64_t table_rows, float* to,
                 Stream stream) {
  if (count <= 0 || width <= 0) return;
  launch(gather_rows_kernel, grid_for(width, count, kThreads), kThreads, 0, stream, table, width, rows, count,
         table_rows, to);
}

}  // namespace nd::kernels::cuda
