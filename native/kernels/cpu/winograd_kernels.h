#pragma once

#include "kernels/conv3x3.h"
#include "kernels/cpu/isa.h"

namespace nd::kernels {

/// How things lie, in floats. A tile is 4×4 outputs; its transform has 36 points.
namespace winograd {
constexpr int64_t kTile = 4, kPoints = 36, kPanel = Conv3x3Weights<float>::kPanel;
/// Input channels a product takes at once: a block of transformed weights, 36·64·32 floats, stays in the second cache.
constexpr int64_t kDepth = 64;
/// A line's shift between planes, so that one element of each doesn't fall into the same set of the cache.
constexpr int64_t kSkew = 16;
}  // namespace winograd

/// Which 4×4 outputs: the image, and the rows and columns they begin at.
struct WinogradTile {
  int64_t sample, top, left;
};

/// The phases, once per instruction set. One thread each.
template <typename T>
struct WinogradKernels {
  /// V = Bᵀ·d·B of the tile's 6×6 inputs, zero outside the image, for all channels, to v[channel block][point][·]
  /// [kDepth], the planes of the points `plane` apart.
  void (*input)(const T* image, int64_t height, int64_t width, int64_t channels, WinogradTile tile, float* v,
                int64_t plane);
  /// U = G·g·Gᵀ, but for the constants that `output` multiplies by: g[channels][9][lanes] to u[point][channels][lanes].
  void (*filter)(const T* g, int64_t channels, int64_t lanes, float* u, int64_t plane);
  /// m[rows][lanes] (+)= v[rows][kDepth]·u[depth][lanes]
  void (*product)(const float* v, int64_t rows, const float* u, int64_t depth, int64_t lanes, float* m, bool add);
  /// filter and product of all points in one, with the same bits: false, and nothing done, where `tiles` are too many
  /// for this to be faster.
  bool (*few)(const T* g, int64_t channels, int64_t lanes, const float* v, int64_t v_plane, int64_t tiles, float* m,
              int64_t m_plane, bool add);
  /// y = Aᵀ·m·A and the epilogue, for output channels [first, first + count) of a tile.
  void (*output)(const float* m, int64_t plane, T* y, Conv3x3Shape shape, int64_t channels, WinogradTile tile,
                 int64_t first, int64_t count, const Conv3x3Epilogue<T>& epilogue);
};

namespace portable {
extern const WinogradKernels<float> winograd_f32;
extern const WinogradKernels<uint16_t> winograd_bf16;
}
#if defined(__x86_64__)
namespace avx2 {
extern const WinogradKernels<float> winograd_f32;
extern const WinogradKernels<uint16_t> winograd_bf16;
}
namespace avx512 {
extern const WinogradKernels<float> winograd_f32;
extern const WinogradKernels<uint16_t> winograd_bf16;
}
#endif

/// conv3x3_nhwc on a chosen instruction set, for tests.
template <typename T>
void conv3x3_on(Isa isa, const T* x, T* y, Conv3x3Shape shape, const Conv3x3Weights<T>& weights,
                const Conv3x3Epilogue<T>& epilogue, Scratch& scratch);

}  // namespace nd::kernels
