#include <algorithm>

#include "kernels/cpu/attention_kernels.h"

namespace nd::kernels {

namespace {

using attention::kChunk;
using attention::kPanel;

/// Floats of the keys of a block, and of its values: together they stay in the second cache.
constexpr int64_t kPacked = 1 << 16;
constexpr int64_t kMaxKeys = 512;
/// Queries of an item: bounds what is kept of them from block to block of keys.
constexpr int64_t kMaxQueries = 256;
/// Floats for what is known of each row of a tile.
constexpr int64_t kRowState = 16;

template <typename T>
const AttentionKernels<T>& kernels_for(Isa isa) {
#if defined(__x86_64__)
  if (isa == Isa::avx512) return kernels_of<T>(avx512::attention_f32, avx512::attention_bf16);
  if (isa == Isa::avx2) return kernels_of<T>(avx2::attention_f32, avx2::attention_bf16);
#endif
  return kernels_of<T>(portable::attention_f32, portable::attention_bf16);
}

/// Keys to a block, by the shape of a sample alone: it decides on the order of sums.
int64_t keys_per_block(AttentionShape shape) {
  const int64_t most = std::clamp(kPacked / shape.head_dim / kPanel * kPanel, kPanel, kMaxKeys);
  return std::min(shape.tokens, round_up(ceil_div(shape.tokens, ceil_div(shape.tokens, most)), kPanel));
}

/// The tiles of a head's queries are dealt to items. An item packs all keys and values itself, so more items keep
/// more threads busy but repeat more packing; the cheapest number, in multiplications, is taken.
int64_t tiles_per_item(AttentionShape shape, int64_t tile_rows, int64_t threads) {
  const int64_t tiles = ceil_div(shape.tokens, tile_rows), most = std::max<int64_t>(1, kMaxQueries / tile_rows);
  constexpr int64_t kPackCost = 16;
  int64_t best = 0, least = 0;
  for (int64_t items = ceil_div(tiles, most), end = std::max(items, std::min(tiles, threads)); items <= end; ++items) {
    const int64_t each = ceil_div(tiles, items);
    const int64_t rounds = ceil_div(shape.batch * shape.heads * ceil_div(tiles, each), threads);
    const int64_t time = rounds * (std::min(each * tile_rows, shape.tokens) + kPackCost);
    if (best == 0 || time < least) {
      best = each;
      least = time;
    }
  }
  return best;
}

/// One call.
template <typename T>
class Attention {
 public:
  Attention(const AttentionKernels<T>& kernels, const T* qkv, T* out, AttentionShape shape, Scratch& scratch)
      : kernels_(kernels), qkv_(qkv), out_(out), shape_(shape), keys_(keys_per_block(shape)),
        inner_(shape.heads * shape.head_dim) {
    const int64_t products = 2 * shape.batch * shape.tokens * shape.tokens * inner_;
    threads_ = threads_for_products(products);
    // Even tiles: no short last one.
    tiles_ = ceil_div(shape.tokens, kernels.tile_rows);
    tile_ = ceil_div(shape.tokens, tiles_);
    tiles_ = ceil_div(shape.tokens, tile_);
    item_tiles_ = tiles_per_item(shape, tile_, threads_);
    items_ = ceil_div(tiles_, item_tiles_);
    const auto matrix = [&](int64_t columns) { return round_up(columns, kChunk) * kernels.tile_rows; };
    packed_keys_ = round_up(keys_, kPanel / 2) * shape.head_dim;
    packed_values_ = keys_ * round_up(shape.head_dim, kPanel / 2);
    row_tile_ = matrix(shape.head_dim);
    score_tile_ = matrix(keys_);
    state_ = row_tile_ + 2 * kRowState;
    const int64_t kept = keys_ < shape.tokens ? item_tiles_ : 1;
    own_size_ = round_up(packed_keys_ + packed_values_ + 2 * row_tile_ + score_tile_ + kept * state_, kRowState);
    scratch_ = scratch.at_least(static_cast<size_t>(threads_ * own_size_));
  }

  void run() const {
#pragma omp parallel for num_threads(threads_) schedule(static)
    for (int64_t i = 0; i < shape_.batch * shape_.heads * items_; ++i) {
      item(i / items_ / shape_.heads, i / items_ % shape_.heads, i % items_ * item_tiles_,
           scratch_ + this_thread() * own_size_);
    }
  }

 private:
  /// Some tiles of one head's queries, against all keys.
  void item(int64_t sample, int64_t head, int64_t first_tile, float* own) const {
    const T* queries = qkv_ + sample * shape_.tokens * 3 * inner_ + head * shape_.head_dim;
    T* out = out_ + sample * shape_.tokens * inner_ + head * shape_.head_dim;
    float* packed_values = own + packed_keys_;
    AttentionStep<T> step;
    step.stride = 3 * inner_;
    step.out_stride = inner_;
    step.head_dim = shape_.head_dim;
    step.packed_keys = own;
    step.packed_values = packed_values;
    step.scores = packed_values + packed_values_;
    step.left = step.scores + score_tile_;
    step.sums = step.left + row_tile_;
    float* states = step.sums + row_tile_;
    const int64_t last_tile = std::min(first_tile + item_tiles_, tiles_);
    for (int64_t key = 0; key < shape_.tokens; key += keys_) {
      step.keys = std::min(keys_, shape_.tokens - key);
      step.first = key == 0;
      step.last = key + step.keys == shape_.tokens;
      const T* keys = queries + inner_ + key * step.stride;
      kernels_.pack_keys(keys, step.stride, step.keys, shape_.head_dim, own);
      kernels_.pack_values(keys + inner_, step.stride, step.keys, shape_.head_dim, packed_values);
      for (int64_t tile = first_tile; tile < last_tile; ++tile) {
        const int64_t row = tile * tile_;
        step.rows = std::min(tile_, shape_.tokens - row);
        step.queries = queries + row * step.stride;
        step.out = out + row * step.out_stride;
        step.total = keys_ < shape_.tokens ? states + (tile - first_tile) * state_ : states;
        step.highest = step.total + row_tile_;
        step.weight = step.highest + kRowState;
        kernels_.step(step);
      }
    }
  }

  const AttentionKernels<T>& kernels_;
  const T* qkv_;
  T* out_;
  AttentionShape shape_;
  int64_t keys_, inner_;
  int threads_;
  int64_t tile_, tiles_, item_tiles_, items_;
  int64_t packed_keys_, packed_values_, row_tile_, score_tile_, state_, own_size_;
  float* scratch_;
};

}  // namespace

template <typename T>
void attention_on(Isa isa, const T* qkv, T* out, AttentionShape shape, Scratch& scratch) {
  if (shape.batch * shape.tokens * shape.heads * shape.head_dim == 0) return;
  Attention<T>(kernels_for<T>(isa), qkv, out, shape, scratch).run();
}
template void attention_on(Isa, const float*, float*, AttentionShape, Scratch&);
template void attention_on(Isa, const uint16_t*, uint16_t*, AttentionShape, Scratch&);

template <typename T>
void attention_nhwc(const T* qkv, T* out, AttentionShape shape, Scratch& scratch) {
  attention_on(best_isa(), qkv, out, shape, scratch);
}
template void attention_nhwc(const float*, float*, AttentionShape, Scratch&);
template void attention_nhwc(const uint16_t*, uint16_t*, AttentionShape, Scratch&);

template <>
bool attention_pays<float>() {
  return best_isa() != Isa::portable;
}
template <>
bool attention_pays<uint16_t>() {
  return best_isa() != Isa::portable && !has_bf16_matrix_unit();
}

}  // namespace nd::kernels
