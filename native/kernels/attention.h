#pragma once

#include <cstdint>

#include "kernels/scratch.h"

namespace nd::kernels {

// T is float, or uint16_t for bfloat16 as its bits. Sums are in float either way.

struct AttentionShape {
  int64_t batch, tokens, heads, head_dim;
};

/// softmax(QKᵀ/√head_dim)·V (Vaswani et al. 2017, eq. 1) of every head. qkv: [batch, tokens, 3, heads, head_dim], out:
/// [batch, tokens, heads, head_dim], dense, apart. The relative error in float is 2 to 8·10⁻⁷ up to 512 dimensions;
/// bfloat16 is rounded once, at the end. A sample's result depends neither on its place in the batch, the batch's size
/// nor the number of threads. Scratch is bounded for any number of tokens. NaN and the infinities come out as the
/// formula has it.
template <typename T>
void attention_nhwc(const T* qkv, T* out, AttentionShape shape, Scratch& scratch);

/// Whether attention_nhwc<T> is faster here than torch's: wherever there are vector kernels, but for bfloat16 with a
/// matrix unit.
template <typename T>
bool attention_pays();

}  // namespace nd::kernels
