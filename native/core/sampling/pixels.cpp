#include "core/sampling/pixels.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include <algorithm>

namespace nd {
namespace {

/// NaN stays, as torch.clamp has it.
float unit(float x) {
  const float shifted = x / 2 + 0.5F;
  return shifted < 0 ? 0 : shifted > 1 ? 1 : shifted;
}
void write(float x, float& to) { to = unit(x); }
/// Adding and taking away 1.5·2²³ rounds to nearest, ties to even. NaN is black: no byte stands for it.
void write(float x, uint8_t& to) {
  const float level = (unit(x) * 255 + 12582912.0F) - 12582912.0F;
  to = level > 0 ? static_cast<uint8_t>(level) : 0;
}

/// Pixels below which a second thread costs more than it saves.
constexpr int64_t kGrain = 1 << 13;

/// [B, C, P] to [B, P, C] in one pass.
template <typename T>
void write_all(const float* from, T* to, int64_t batch, int64_t channels, int64_t pixels) {
  at::parallel_for(0, batch * pixels, kGrain, [=](int64_t begin, int64_t end) {
    for (int64_t at = begin; at < end;) {
      const int64_t sample = at / pixels, first = at % pixels, last = std::min(pixels, first + end - at);
      for (int64_t channel = 0; channel < channels; ++channel) {
        const float* plane = from + (sample * channels + channel) * pixels;
        T* image = to + sample * pixels * channels + channel;
        for (int64_t pixel = first; pixel < last; ++pixel) write(plane[pixel], image[pixel * channels]);
      }
      at += last - first;
    }
  });
}

}  // namespace

at::Tensor to_pixels(const at::Tensor& samples, PixelFormat format) {
  const auto from = samples.to(at::kCPU, at::kFloat).contiguous();
  const int64_t batch = from.size(0), channels = from.size(1), height = from.size(2), width = from.size(3);
  const auto dtype = format == PixelFormat::uint8 ? at::kByte : at::kFloat;
  const auto to = at::empty({batch, height, width, channels}, at::dtype(dtype));
  const auto* x = from.const_data_ptr<float>();
  if (format == PixelFormat::uint8) {
    write_all(x, to.mutable_data_ptr<uint8_t>(), batch, channels, height * width);
  } else {
    write_all(x, to.mutable_data_ptr<float>(), batch, channels, height * width);
  }
  return to;
}

}  // namespace nd
