#pragma once

#include <immintrin.h>

#include <cstdint>

// Included after a target pragma. A file compiled for a wider instruction set uses no std template: the linker might
// keep its copy of one for everybody.
namespace nd::kernels::avx512 {

#define ND_SIMD static inline __attribute__((always_inline))

/// Registers the compiler may fill: 32.
constexpr int kRegisters = 32;
constexpr int64_t kWidth = 16;
using Vec = __m512;

/// The first n of kWidth lanes.
ND_SIMD __mmask16 first(int64_t n) { return static_cast<__mmask16>((1U << n) - 1U); }

ND_SIMD Vec set1(float v) { return _mm512_set1_ps(v); }
ND_SIMD Vec zero() { return _mm512_setzero_ps(); }
ND_SIMD Vec load(const float* p) { return _mm512_loadu_ps(p); }
ND_SIMD Vec load_first(const float* p, int64_t n) { return _mm512_maskz_loadu_ps(first(n), p); }
ND_SIMD void store(float* p, Vec v) { _mm512_storeu_ps(p, v); }
ND_SIMD void store_first(float* p, Vec v, int64_t n) { _mm512_mask_storeu_ps(p, first(n), v); }

ND_SIMD Vec add(Vec a, Vec b) { return _mm512_add_ps(a, b); }
ND_SIMD Vec sub(Vec a, Vec b) { return _mm512_sub_ps(a, b); }
ND_SIMD Vec mul(Vec a, Vec b) { return _mm512_mul_ps(a, b); }
ND_SIMD Vec div(Vec a, Vec b) { return _mm512_div_ps(a, b); }
/// a·b + c in one rounding, on every instruction set.
ND_SIMD Vec fused(Vec a, Vec b, Vec c) { return _mm512_fmadd_ps(a, b, c); }
/// The same here, in two roundings where one would take a call.
ND_SIMD Vec fma(Vec a, Vec b, Vec c) { return _mm512_fmadd_ps(a, b, c); }
/// limit where v is beyond it, v elsewhere and where v is NaN.
ND_SIMD Vec at_most(Vec v, float limit) { return _mm512_min_ps(set1(limit), v); }
ND_SIMD Vec at_least(Vec v, float limit) { return _mm512_max_ps(set1(limit), v); }
/// The larger lane by lane; b where either is NaN.
ND_SIMD Vec larger(Vec a, Vec b) { return _mm512_max_ps(a, b); }
ND_SIMD Vec round_to_integer(Vec v) { return _mm512_roundscale_ps(v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); }
/// v·2ⁿ for an integral n, to ∞ and through the subnormals.
ND_SIMD Vec scale_by_power_of_two(Vec v, Vec n) { return _mm512_scalef_ps(v, n); }

ND_SIMD Vec square_root(Vec v) { return _mm512_sqrt_ps(v); }

/// A register of 32-bit words.
using Bits = __m512i;
ND_SIMD Bits set1_bits(uint32_t v) { return _mm512_set1_epi32(static_cast<int>(v)); }
/// 0, 1, … kWidth − 1.
ND_SIMD Bits lane_numbers() { return _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15); }
ND_SIMD Bits as_bits(Vec v) { return _mm512_castps_si512(v); }
ND_SIMD Vec as_floats(Bits v) { return _mm512_castsi512_ps(v); }
ND_SIMD Bits add(Bits a, Bits b) { return _mm512_add_epi32(a, b); }
ND_SIMD Bits sub(Bits a, Bits b) { return _mm512_sub_epi32(a, b); }
ND_SIMD Bits bit_and(Bits a, Bits b) { return _mm512_and_si512(a, b); }
ND_SIMD Bits bit_xor(Bits a, Bits b) { return _mm512_xor_si512(a, b); }
template <int kBy>
ND_SIMD Bits shift_left(Bits v) { return _mm512_slli_epi32(v, kBy); }
template <int kBy>
ND_SIMD Bits shift_right(Bits v) { return _mm512_srli_epi32(v, kBy); }
template <int kBy>
ND_SIMD Bits shift_right_signed(Bits v) { return _mm512_srai_epi32(v, kBy); }
/// a's bits where mask has ones, b's elsewhere.
ND_SIMD Bits select(Bits mask, Bits a, Bits b) { return _mm512_ternarylogic_epi32(mask, a, b, 0xca); }
/// Rounded to nearest, ties to even.
ND_SIMD Vec signed_to_float(Bits v) { return _mm512_cvtepi32_ps(v); }

/// kWidth words at the lower ends of 64 bits each, whose upper ends hold anything.
struct Wide {
  Bits even, odd;
};
ND_SIMD Wide set1_wide(uint32_t v) { return {set1_bits(v), set1_bits(v)}; }
ND_SIMD Wide widen(Bits v) { return {v, _mm512_srli_epi64(v, 32)}; }
ND_SIMD Bits narrow(Wide v) { return _mm512_mask_mov_epi32(v.even, 0xaaaa, _mm512_slli_epi64(v.odd, 32)); }
ND_SIMD Wide bit_xor(Wide a, Wide b) { return {bit_xor(a.even, b.even), bit_xor(a.odd, b.odd)}; }
/// The words' products, of all 64 bits.
ND_SIMD Wide multiply_words(Wide v, uint32_t factor) {
  return {_mm512_mul_epu32(v.even, set1_bits(factor)), _mm512_mul_epu32(v.odd, set1_bits(factor))};
}
ND_SIMD Wide upper_words(Wide v) { return {_mm512_srli_epi64(v.even, 32), _mm512_srli_epi64(v.odd, 32)}; }

/// v[i][j] becomes v[j][i]: 2×2 and 4×4 blocks of lanes within the quarters of a register, then the quarters.
ND_SIMD void transpose(Vec v[kWidth]) {
  Vec pairs[kWidth], fours[kWidth];
#pragma GCC unroll 8
  for (int i = 0; i < 16; i += 2) {
    pairs[i] = _mm512_unpacklo_ps(v[i], v[i + 1]);
    pairs[i + 1] = _mm512_unpackhi_ps(v[i], v[i + 1]);
  }
#pragma GCC unroll 4
  for (int i = 0; i < 16; i += 4) {
    fours[i] = _mm512_shuffle_ps(pairs[i], pairs[i + 2], 0x44);
    fours[i + 1] = _mm512_shuffle_ps(pairs[i], pairs[i + 2], 0xee);
    fours[i + 2] = _mm512_shuffle_ps(pairs[i + 1], pairs[i + 3], 0x44);
    fours[i + 3] = _mm512_shuffle_ps(pairs[i + 1], pairs[i + 3], 0xee);
  }
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {
    const Vec even0 = _mm512_shuffle_f32x4(fours[i], fours[i + 4], 0x88);
    const Vec odd0 = _mm512_shuffle_f32x4(fours[i], fours[i + 4], 0xdd);
    const Vec even1 = _mm512_shuffle_f32x4(fours[i + 8], fours[i + 12], 0x88);
    const Vec odd1 = _mm512_shuffle_f32x4(fours[i + 8], fours[i + 12], 0xdd);
    v[i] = _mm512_shuffle_f32x4(even0, even1, 0x88);
    v[i + 4] = _mm512_shuffle_f32x4(odd0, odd1, 0x88);
    v[i + 8] = _mm512_shuffle_f32x4(even0, even1, 0xdd);
    v[i + 12] = _mm512_shuffle_f32x4(odd0, odd1, 0xdd);
  }
}

/// bfloat16 is the upper half of a float.
ND_SIMD Vec widen(__m256i bits) { return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(bits), 16)); }
/// Rounds to nearest, ties to even; any NaN becomes the quiet one.
ND_SIMD __m256i narrow(Vec v) {
  const __m512i bits = _mm512_castps_si512(v);
  const __m512i odd = _mm512_and_si512(_mm512_srli_epi32(bits, 16), _mm512_set1_epi32(1));
  __m512i rounded = _mm512_add_epi32(bits, _mm512_add_epi32(odd, _mm512_set1_epi32(0x7fff)));
  rounded = _mm512_mask_mov_epi32(rounded, _mm512_cmp_ps_mask(v, v, _CMP_UNORD_Q), _mm512_set1_epi32(0x7fc00000));
  return _mm512_cvtepi32_epi16(_mm512_srli_epi32(rounded, 16));
}
ND_SIMD Vec load(const uint16_t* p) { return widen(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p))); }
ND_SIMD Vec load_first(const uint16_t* p, int64_t n) { return widen(_mm256_maskz_loadu_epi16(first(n), p)); }
ND_SIMD void store(uint16_t* p, Vec v) { _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), narrow(v)); }
ND_SIMD void store_first(uint16_t* p, Vec v, int64_t n) { _mm256_mask_storeu_epi16(p, first(n), narrow(v)); }

}  // namespace nd::kernels::avx512
