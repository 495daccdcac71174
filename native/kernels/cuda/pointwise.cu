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
    bias_residual_kernel(const T* conv, const float* bias, const T* residual, float scale, T* y, int64_t numel, int64_t channels) {
  for (int64_t i = first_item(); i < numel / kCount; i += all_threads()) {
    const int64_t e = i * kCount;
    float v[kCount];
    load(conv + e, v);
    add_row(bias == nullptr ? nullptr : bias + e % channels, v);
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

/// A block's row of an image and a thread's words in it: blockIdx.y goes over the rows of all images.
template <typename Visit>
__device__ __forceinline__ void each_word(int64_t rows, int width, int pixel_words, const Visit& visit) {
  for (int64_t row = blockIdx.y; row < rows; row += gridDim.y) {
    for (int64_t i = first_item(); i < int64_t{width} * pixel_words; i += all_threads()) {
      const int at = static_cast<int>(i);
      visit(row, at / pixel_words, at % pixel_words);
    }
  }
}

template <typename Word>
__global__ void __launch_bounds__(kThreads)
    upsample_kernel(const Word* x, Word* y, int64_t rows, int width, int pixel_words) {
  const int64_t y_row = int64_t{2} * width * pixel_words;
  each_word(rows, width, pixel_words, [&](int64_t row, int column, int word) {
    const Word v = x[(row * width + column) * pixel_words + word];
    // Row r of all images becomes rows 2r and 2r + 1 of all.
    Word* to = y + 2 * row * y_row + int64_t{2} * column * pixel_words + word;
    to[0] = to[pixel_words] = to[y_row] = to[y_row + pixel_words] = v;
  });
}

template <typename Word>
__global__ void __launch_bounds__(kThreads)
    pad_kernel(const Word* x, Word* y, int64_t y_rows, int height, int width, int pixel_words) {
  each_word(y_rows, width + 1, pixel_words, [&](int64_t y_row, int column, int word) {
    const int64_t image = y_row / (height + 1);
    const int row = static_cast<int>(y_row % (height + 1));
    const bool in = row < height && column < width;
    y[(y_row * (width + 1) + column) * pixel_words + word] =
        in ? x[((image * height + row) * width + column) * pixel_words + word] : Word{};
  });
}

template <typename Word>
__global__ void __launch_bounds__(kThreads)
    interleave_kernel(const Word* z, Word* y, int64_t y_rows, int width, int pixel_words) {
  each_word(y_rows, 2 * width, pixel_words, [&](int64_t y_row, int column, int word) {
    // Row 2r + a of all images is of the phases' row r of all.
    const int64_t phase = y_row % 2 * 2 + column % 2, z_row = phase * (y_rows / 2) + y_row / 2;
    y[(y_row * 2 * width + column) * pixel_words + word] = z[(z_row * width + column / 2) * pixel_words + word];
  });
}

template <typename T, int kCount>
__global__ void __launch_bounds__(kThreads)
    join_phases_kernel(const T* z, const float* bias, T* y, int64_t y_rows, int height, int width, int channels) {
  each_word(y_rows, 2 * width, channels / kCount, [&](int64_t y_row, int column, int word) {
    const int64_t image = y_row / (2 * height);
    const int row = static_cast<int>(y_row % (2 * height)), a = row % 2, b = column % 2, channel = word * kCount;
    const int64_t pixel = (image * (height + 1) + row / 2 + a) * (width + 1) + column / 2 + b;
    float v[kCount];
    load(z + (pixel * 4 + 2 * a + b) * channels + channel, v);
    add_row(bias + channel, v);
    store(y + (y_row * 2 * width + column) * channels + channel, v);
  });
}

/// visit(a word to copy by, words of a pixel): the widest that size and places allow.
template <typename Visit>
void with_words(const PixelCall& call, const void* x, const void* y, const Visit& visit) {
  const auto words = [&](int64_t size) { return static_cast<int>(call.pixel_bytes / size); };
  if (call.pixel_bytes % 16 == 0 && is_aligned(x, 16) && is_aligned(y, 16)) return visit(uint4{}, words(16));
  if (call.pixel_bytes % 4 == 0 && is_aligned(x, 4) && is_aligned(y, 4)) return visit(uint32_t{}, words(4));
  visit(uint16_t{}, words(2));
}

bool is_empty(const PixelCall& call) {
  return call.batch <= 0 || call.height <= 0 || call.width <= 0 || call.pixel_bytes <= 0;
}

}  // namespace

void upsample_nearest(const PixelCall& call, const void* x, void* y, Stream stream) {
  if (is_empty(call)) return;
  const int64_t rows = call.batch * call.height;
  with_words(call, x, y, [&](auto word, int pixel_words) {
    using Word = decltype(word);
    launch(upsample_kernel<Word>, grid_for(call.width * pixel_words, rows, kThreads), kThreads, 0, stream,
           static_cast<const Word*>(x), static_cast<Word*>(y), rows, static_cast<int>(call.width), pixel_words);
  });
}

void interleave_phases(const PixelCall& call, const void* z, void* y, Stream stream) {
  if (is_empty(call)) return;
  const int64_t y_rows = call.batch * 2 * call.height;
  with_words(call, z, y, [&](auto word, int pixel_words) {
    using Word = decltype(word);
    launch(interleave_kernel<Word>, grid_for(2 * call.width * pixel_words, y_rows, kThreads), kThreads, 0, stream,
           static_cast<const Word*>(z), static_cast<Word*>(y), y_rows, static_cast<int>(call.width), pixel_words);
  });
}

void join_phases(Element element, const void* z, const float* bias, void* y, int64_t batch, int64_t height, int64_t width,
                 int64_t channels, Stream stream) {
  const int64_t y_rows = batch * 2 * height;
  if (y_rows * width * channels <= 0) return;
  dispatch(element, [&](auto type) {
    using T = typename decltype(type)::type;
    const auto run = [&](auto kernel, int64_t count) {
      launch(kernel, grid_for(2 * width * (channels / count), y_rows, kThreads), kThreads, 0, stream, static_cast<const T*>(z),
             bias, static_cast<T*>(y), y_rows, static_cast<int>(height), static_cast<int>(width), static_cast<int>(channels));
    };
    if (channels % kVectorOf<T> == 0 && aligned_16(z) && aligned_16(y)) {
      run(join_phases_kernel<T, kVectorOf<T>>, kVectorOf<T>);
    } else {
      run(join_phases_kernel<T, 1>, 1);
    }
  });
}

void pad_right_below(const PixelCall& call, const void* x, void* y, Stream stream) {
  if (is_empty(call)) return;
  const int64_t y_rows = call.batch * (call.height + 1);
  with_words(call, x, y, [&](auto word, int pixel_words) {
    using Word = decltype(word);
    launch(pad_kernel<Word>, grid_for((call.width + 1) * pixel_words, y_rows, kThreads), kThreads, 0, stream,
           static_cast<const Word*>(x), static_cast<Word*>(y), y_rows, static_cast<int>(call.height),
           static_cast<int>(call.width), pixel_words);
  });
}

void add_bias_residual(Element element, const void* conv, const float* bias, const void* residual, float scale, void* y,
                       int64_t pixels, int64_t channels, Stream stream) {
  const int64_t numel = pixels * channels;
  if (numel <= 0) return;
  dispatch(element, [&](auto type) {
    using T = typename decltype(type)::type;
    const auto run = [&](auto kernel, int64_t items) {
      launch(kernel, dim3(blocks_for(items, kThreads)), kThreads, 0, stream, static_cast<const T*>(conv), bias,
             static_cast<const T*>(residual), scale, static_cast<T*>(y), numel, channels);
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
