#include <algorithm>

#include "kernels/cpu/rounding.h"
#include "kernels/cpu/winograd_kernels.h"

namespace nd::kernels {

namespace {

using winograd::kDepth;
using winograd::kPanel;
using winograd::kPoints;
using winograd::kSkew;
using winograd::kTile;

/// Tiles that are transformed and multiplied together: their sums, 36·64·32 floats, stay in the second cache.
constexpr int64_t kMaxBlock = 64;

template <typename T>
const WinogradKernels<T>& kernels_for(Isa isa) {
#if defined(__x86_64__)
  if (isa == Isa::avx512) return kernels_of<T>(avx512::winograd_f32, avx512::winograd_bf16);
  if (isa == Isa::avx2) return kernels_of<T>(avx2::winograd_f32, avx2::winograd_bf16);
#endif
  return kernels_of<T>(portable::winograd_f32, portable::winograd_bf16);
}

/// How a call is cut into items: `blocks` of `block` tiles each, by `groups` of `group` panels of output channels each.
struct Plan {
  int threads;
  int64_t blocks, block, groups, group;
};

/// An item transforms its inputs and its weights itself: sharing either among threads would cost more than the
/// arithmetic, a line read from another core's cache being dearer than the operations that make it. So finer cuts keep
/// more threads busy but repeat more transforms; the cheapest cut, in cycles for 16 input channels, is taken.
Plan make_plan(int64_t tiles, int64_t panels, int threads) {
  constexpr int64_t kInputCost = 250, kFilterCost = 32 * 150, kProductCost = 32 * 36;
  Plan best{threads, 0, 0, 0, 0};
  int64_t least = 0;
  for (int64_t groups = std::min<int64_t>(panels, threads); groups > 0; --groups) {
    const int64_t group = ceil_div(panels, groups);
    if (ceil_div(panels, group) != groups) continue;
    const int64_t items = ceil_div(ceil_div(tiles, kMaxBlock) * groups, threads) * threads;
    const int64_t block = ceil_div(tiles, ceil_div(items, groups)), blocks = ceil_div(tiles, block);
    const int64_t time = ceil_div(blocks * groups, threads) *
                         (block * kInputCost + group * (kFilterCost + block * kProductCost));
    if (best.blocks == 0 || time < least) {
      best = {threads, blocks, block, groups, group};
      least = time;
    }
  }
  return best;
}

/// One call. The tiles of the whole batch are numbered through. Every sum runs over the input channels in their order,
/// so the plan doesn't change a bit of the result.
template <typename T>
class Winograd {
 public:
  Winograd(const WinogradKernels<T>& kernels, const T* x, T* y, Conv3x3Shape shape, const Conv3x3Weights<T>& weights,
           const Conv3x3Epilogue<T>& epilogue, Scratch& scratch)
      : kernels_(kernels), x_(x), y_(y), shape_(shape), weights_(weights), epilogue_(epilogue),
        across_(ceil_div(shape.width, kTile)), down_(ceil_div(shape.height, kTile)),
        tiles_(shape.batch * across_ * down_), depths_(ceil_div(weights.in_channels(), kDepth)) {
    const int64_t products = tiles_ * kPoints * weights.in_channels() * weights.out_channels();
    plan_ = make_plan(tiles_, weights.panels(), threads_for_products(products));
    v_plane_ = plan_.block * kDepth + kSkew;
    m_plane_ = plan_.block * kPanel + kSkew;
    own_size_ = kPoints * (kUPlane + m_plane_ + depths_ * v_plane_);
    scratch_ = scratch.at_least(static_cast<size_t>(plan_.threads * own_size_));
  }

  void run() const {
#pragma omp parallel num_threads(plan_.threads)
    {
      const Buffers own = buffers(this_thread());
      int64_t transformed = -1;
#pragma omp for schedule(static)
      for (int64_t item = 0; item < plan_.blocks * plan_.groups; ++item) {
        const int64_t block = item / plan_.groups, first = block * plan_.block;
        const int64_t count = std::min(plan_.block, tiles_ - first);
        if (block != transformed) transform_inputs(first, count, own.v);
        transformed = block;
        const int64_t panel = item % plan_.groups * plan_.group, end = std::min(panel + plan_.group, weights_.panels());
        for (int64_t i = panel; i < end; ++i) multiply(first, count, i, own);
      }
    }
  }

 private:
  static constexpr int64_t kUPlane = kDepth * kPanel + kSkew;

  /// A thread's: transformed weights of one panel and depth, sums of one panel, transformed inputs of one block.
  struct Buffers {
    float* u;
    float* m;
    float* v;
  };
  Buffers buffers(int thread) const {
    float* u = scratch_ + thread * own_size_;
    return {u, u + kPoints * kUPlane, u + kPoints * (kUPlane + m_plane_)};
  }

  WinogradTile tile(int64_t index) const {
    return {index / (across_ * down_), index / across_ % down_ * kTile, index % across_ * kTile};
  }

  void transform_inputs(int64_t first, int64_t count, float* v) const {
    const int64_t channels = weights_.in_channels();
    for (int64_t i = 0; i < count; ++i) {
      kernels_.input(x_, shape_.height, shape_.width, channels, tile(first + i), v + i * kDepth, v_plane_);
    }
  }

  /// Weights' transform, products and outputs of one panel for `count` tiles from `first`.
  void multiply(int64_t first, int64_t count, int64_t panel, const Buffers& own) const {
    const int64_t lanes = weights_.lanes(panel), channels = weights_.in_channels();
    for (int64_t i = 0; i < depths_; ++i) {
      const int64_t depth = std::min(kDepth, channels - i * kDepth);
      const T* g = weights_.panel(panel) + i * kDepth * 9 * lanes;
      const float* v = own.v + i * kPoints * v_plane_;
      if (kernels_.few(g, depth, lanes, v, v_plane_, count, own.m, m_plane_, i > 0)) continue;
      kernels_.filter(g, depth, lanes, own.u, kUPlane);
      for (int64_t point = 0; point < kPoints; ++point) {
        prefetch_part(g + depth * 9 * lanes, depth * 9 * lanes, point);
        kernels_.product(v + point * v_plane_, count, own.u + point * kUPlane, depth, lanes, own.m + point * m_plane_,
                         i > 0);
      }
    }
    const int64_t begin = panel * kPanel, wanted = std::min(lanes, weights_.out_channels() - begin);
    for (int64_t i = 0; i < count; ++i) {
      kernels_.output(own.m + i * lanes, m_plane_, y_, shape_, weights_.out_channels(), tile(first + i), begin, wanted,
                      epilogue_);
    }
  }

  /// A point's share of the weights that come next: they arrive from memory while products are under way.
  static void prefetch_part(const T* next, int64_t count, int64_t point) {
    const auto address = reinterpret_cast<uintptr_t>(next);  // may lie past the end, where a prefetch does nothing
    const int64_t lines = ceil_div(count * static_cast<int64_t>(sizeof(T)), 64 * kPoints);
    for (int64_t i = 0; i < lines; ++i) {
      const auto line = static_cast<uintptr_t>((point * lines + i) * 64);
      __builtin_prefetch(reinterpret_cast<const void*>(address + line), 0, 2);
    }
  }

  const WinogradKernels<T>& kernels_;
  const T* x_;
  T* y_;
  Conv3x3Shape shape_;
  const Conv3x3Weights<T>& weights_;
  const Conv3x3Epilogue<T>& epilogue_;
  int64_t across_, down_, tiles_, depths_;
  Plan plan_;
  int64_t v_plane_, m_plane_, own_size_;
  float* scratch_;
};

}  // namespace

template <typename T>
void conv3x3_on(Isa isa, const T* x, T* y, Conv3x3Shape shape, const Conv3x3Weights<T>& weights,
                const Conv3x3Epilogue<T>& epilogue, Scratch& scratch) {
  if (shape.batch * shape.height * shape.width == 0) return;
  Winograd<T>(kernels_for<T>(isa), x, y, shape, weights, epilogue, scratch).run();
}
template void conv3x3_on(Isa, const float*, float*, Conv3x3Shape, const Conv3x3Weights<float>&,
                         const Conv3x3Epilogue<float>&, Scratch&);
template void conv3x3_on(Isa, const uint16_t*, uint16_t*, Conv3x3Shape, const Conv3x3Weights<uint16_t>&,
                         const Conv3x3Epilogue<uint16_t>&, Scratch&);

template <typename T>
void conv3x3_nhwc(const T* x, T* y, Conv3x3Shape shape, const Conv3x3Weights<T>& weights,
                  const Conv3x3Epilogue<T>& epilogue, Scratch& scratch) {
  conv3x3_on(best_isa(), x, y, shape, weights, epilogue, scratch);
}
template void conv3x3_nhwc(const float*, float*, Conv3x3Shape, const Conv3x3Weights<float>&,
                           const Conv3x3Epilogue<float>&, Scratch&);
template void conv3x3_nhwc(const uint16_t*, uint16_t*, Conv3x3Shape, const Conv3x3Weights<uint16_t>&,
                           const Conv3x3Epilogue<uint16_t>&, Scratch&);

template <>
bool conv3x3_pays<float>() {
  return best_isa() != Isa::portable;
}
template <>
bool conv3x3_pays<uint16_t>() {
  return best_isa() != Isa::portable && !has_bf16_matrix_unit();
}

}  // namespace nd::kernels
