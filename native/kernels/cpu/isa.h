#pragma once

#include <cstdint>
#include <type_traits>

namespace nd::kernels {

/// The instruction sets that the kernels are written for, in rising order.
enum class Isa { portable, avx2, avx512 };

/// The best one that this processor and operating system run.
Isa best_isa();

/// Whether it multiplies bfloat16 matrices in a unit of its own (AMX), far faster than its vectors do float ones.
bool has_bf16_matrix_unit();

/// OpenMP's threads for a region opened here: 1 inside a parallel region, so that kernels never oversubscribe.
int available_threads();

/// The same, but 1 below so many multiplications, some 10 µs, that a second thread costs more than it saves.
int threads_for_products(int64_t products);

/// This thread's number in the region that it runs.
int this_thread();

/// Of one instruction set's kernels, those for T: float, or uint16_t for bfloat16 as its bits.
template <typename T, typename F32, typename BF16>
const auto& kernels_of(const F32& f32, const BF16& bf16) {
  if constexpr (std::is_same_v<T, float>) {
    return f32;
  } else {
    return bf16;
  }
}

}  // namespace nd::kernels
