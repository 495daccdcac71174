#pragma once

namespace nd::kernels {

/// The instruction sets that the kernels are written for, in rising order.
enum class Isa { portable, avx2, avx512 };

/// The best one that this processor and operating system run.
Isa best_isa();

/// Whether it multiplies bfloat16 matrices in a unit of its own (AMX), far faster than its vectors do float ones.
bool has_bf16_matrix_unit();

/// OpenMP's threads for a region opened here: 1 inside a parallel region, so that kernels never oversubscribe.
int available_threads();

}  // namespace nd::kernels
