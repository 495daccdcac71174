#if defined(__x86_64__)
#include <immintrin.h>

#include "kernels/cpu/fused_step_kernels.h"

#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx512f,avx512bw,avx512vl,avx512dq"))), apply_to = function)
#else
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"  // false, from GCC 12's own avx512fintrin.h (bug 105593)
#pragma GCC target("avx512f,avx512bw,avx512vl,avx512dq")
#endif
#include "kernels/cpu/simd_avx512.h"

namespace nd::kernels::avx512 {
#include "kernels/cpu/fused_step_body.h"
}

#if defined(__clang__)
#pragma clang attribute pop
#endif
#endif
