#if defined(__x86_64__)
#include <immintrin.h>

#include "kernels/cpu/fused_step_kernels.h"

#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx2,fma"))), apply_to = function)
#else
#pragma GCC target("avx2,fma")
#endif
#include "kernels/cpu/simd_avx2.h"

namespace nd::kernels::avx2 {
#include "kernels/cpu/fused_step_body.h"
}

#if defined(__clang__)
#pragma clang attribute pop
#endif
#endif
