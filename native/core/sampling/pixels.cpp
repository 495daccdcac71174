#include "core/sampling/pixels.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include <algorithm>
#include <bit>
#include <cmath>

namespace nd {
namespace {

constexpr int64_t kBlock = 256;  // pixels of a channel: what is written with gaps between is not vectorized

/// x/2 + 1/2 in [0, 1]. NaN stays, as torch.clamp has it, or is 0. Comparisons that don't trap, so that GCC vectorizes them.
template <bool kKeepsNaN>
void to_units(const float* x, float* to, int64_t count) {
  for (int64_t i = 0; i < count; ++i) {
    const float shifted = x[i] / 2 + 0.5F;
    const bool stays = kKeepsNaN ? !std::isless(shifted, 0.0F) : std::isgreater(shifted, 0.0F);
    const float positive = stays ? shifted : 0.0F;
    to[i] = std::isgreater(positive, 1.0F) ? 1.0F : positive;
  }
}

void to_values(const float* x, float* to, int64_t count) { to_units<true>(x, to, count); }
/// Adding 1.5·2²³ rounds to nearest, ties to even, and leaves the level in the lowest bits. NaN is black: no byte stands for it.
void to_values(const float* x, uint8_t* to, int64_t count) {
  float units[kBlock];
  to_units<false>(x, units, count);
  for (int64_t i = 0; i < count; ++i) to[i] = static_cast<uint8_t>(std::bit_cast<uint32_t>(units[i] * 255 + 12582912.0F));
}

/// Pixels of one channel, into every channels-th place.
template <typename T>
void write_channel(const float* from, T* to, int64_t channels, int64_t count) {
  T values[kBlock];
  for (int64_t first = 0; first < count; first += kBlock) {
    const int64_t pixels = std::min(kBlock, count - first);
    to_values(from + first, values, pixels);
    for (int64_t i = 0; i < pixels; ++i) to[(first + i) * channels] = values[i];
  }
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
        write_channel(from + (sample * channels + channel) * pixels + first, to + (sample * pixels + first) * channels + channel, channels,
                    last - first);
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
