#pragma once

#include "kernels/cuda/launch.cuh"

/// One lane, as a GPU's thread has it; the functions mirror cpu/simd_portable.h's. Compiled with --fmad=false: every
/// operation rounds once, so that the bodies give the CPU's bits.
namespace nd::kernels::cuda {

#define ND_SIMD __device__ __forceinline__

using Vec = float;
ND_SIMD Vec set1(float v) { return v; }
ND_SIMD Vec add(Vec a, Vec b) { return a + b; }
ND_SIMD Vec sub(Vec a, Vec b) { return a - b; }
ND_SIMD Vec mul(Vec a, Vec b) { return a * b; }
ND_SIMD Vec div(Vec a, Vec b) { return a / b; }
ND_SIMD Vec fma(Vec a, Vec b, Vec c) { return fmaf(a, b, c); }
ND_SIMD Vec fused(Vec a, Vec b, Vec c) { return fmaf(a, b, c); }
ND_SIMD Vec at_most(Vec v, float limit) { return limit < v ? limit : v; }
ND_SIMD Vec at_least(Vec v, float limit) { return limit > v ? limit : v; }
ND_SIMD Vec square_root(Vec v) { return sqrtf(v); }
ND_SIMD Vec round_to_integer(Vec v) { return rintf(v); }

using Bits = uint32_t;
ND_SIMD Bits set1_bits(uint32_t v) { return v; }
ND_SIMD Bits lane_numbers() { return 0; }
ND_SIMD Bits as_bits(Vec v) { return __float_as_uint(v); }
ND_SIMD Vec as_floats(Bits v) { return __uint_as_float(v); }
ND_SIMD Bits add(Bits a, Bits b) { return a + b; }
ND_SIMD Bits sub(Bits a, Bits b) { return a - b; }
ND_SIMD Bits bit_and(Bits a, Bits b) { return a & b; }
ND_SIMD Bits bit_xor(Bits a, Bits b) { return a ^ b; }
template <int kBy>
ND_SIMD Bits shift_left(Bits v) { return v << kBy; }
template <int kBy>
ND_SIMD Bits shift_right(Bits v) { return v >> kBy; }
template <int kBy>
ND_SIMD Bits shift_right_signed(Bits v) { return static_cast<Bits>(static_cast<int32_t>(v) >> kBy); }
ND_SIMD Bits select(Bits mask, Bits a, Bits b) { return (a & mask) | (b & ~mask); }
ND_SIMD Vec signed_to_float(Bits v) { return static_cast<float>(static_cast<int32_t>(v)); }

/// In two factors, each of which is a float's.
ND_SIMD Vec scale_by_power_of_two(Vec v, Vec n) {
  if (n != n) return v;  // NaN too
  const int exponent = static_cast<int>(n), half = exponent / 2;
  return v * as_floats(static_cast<Bits>(half + 127) << 23) * as_floats(static_cast<Bits>(exponent - half + 127) << 23);
}

using Wide = uint64_t;
ND_SIMD Wide set1_wide(uint32_t v) { return v; }
ND_SIMD Wide widen(Bits v) { return v; }
ND_SIMD Bits narrow(Wide v) { return static_cast<Bits>(v); }
ND_SIMD Wide bit_xor(Wide a, Wide b) { return a ^ b; }
ND_SIMD Wide multiply_words(Wide v, uint32_t factor) { return Wide{static_cast<uint32_t>(v)} * factor; }
ND_SIMD Wide upper_words(Wide v) { return v >> 32; }

#include "kernels/cpu/exp_body.h"
#include "kernels/philox_body.h"

}  // namespace nd::kernels::cuda
