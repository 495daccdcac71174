#pragma once

#include <immintrin.h>

#include <cstdint>

// Included after a target pragma; see simd_avx512.h, whose functions these mirror.
namespace nd::kernels::avx2 {

#define ND_SIMD static inline __attribute__((always_inline))

constexpr int kRegisters = 16;
constexpr int64_t kWidth = 8;
using Vec = __m256;

ND_SIMD __m256i first(int64_t n) {
  return _mm256_cmpgt_epi32(_mm256_set1_epi32(static_cast<int>(n)), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}

ND_SIMD Vec set1(float v) { return _mm256_set1_ps(v); }
ND_SIMD Vec zero() { return _mm256_setzero_ps(); }
ND_SIMD Vec load(const float* p) { return _mm256_loadu_ps(p); }
ND_SIMD Vec load_first(const float* p, int64_t n) { return _mm256_maskload_ps(p, first(n)); }
ND_SIMD void store(float* p, Vec v) { _mm256_storeu_ps(p, v); }
ND_SIMD void store_first(float* p, Vec v, int64_t n) { _mm256_maskstore_ps(p, first(n), v); }

ND_SIMD Vec add(Vec a, Vec b) { return _mm256_add_ps(a, b); }
ND_SIMD Vec sub(Vec a, Vec b) { return _mm256_sub_ps(a, b); }
ND_SIMD Vec mul(Vec a, Vec b) { return _mm256_mul_ps(a, b); }
ND_SIMD Vec div(Vec a, Vec b) { return _mm256_div_ps(a, b); }
ND_SIMD Vec fused(Vec a, Vec b, Vec c) { return _mm256_fmadd_ps(a, b, c); }
ND_SIMD Vec fma(Vec a, Vec b, Vec c) { return _mm256_fmadd_ps(a, b, c); }
ND_SIMD Vec at_most(Vec v, float limit) { return _mm256_min_ps(set1(limit), v); }
ND_SIMD Vec at_least(Vec v, float limit) { return _mm256_max_ps(set1(limit), v); }
ND_SIMD Vec larger(Vec a, Vec b) { return _mm256_max_ps(a, b); }
ND_SIMD Vec round_to_integer(Vec v) { return _mm256_round_ps(v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); }
ND_SIMD Vec power_of_two(__m256i n) {
  return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_add_epi32(n, _mm256_set1_epi32(127)), 23));
}
/// In two factors: 2ⁿ itself may lie outside the normal floats. |n| ≤ 252.
ND_SIMD Vec scale_by_power_of_two(Vec v, Vec n) {
  const __m256i exponent = _mm256_cvtps_epi32(n);
  const __m256i half = _mm256_srai_epi32(exponent, 1);
  return mul(mul(v, power_of_two(half)), power_of_two(_mm256_sub_epi32(exponent, half)));
}

ND_SIMD Vec square_root(Vec v) { return _mm256_sqrt_ps(v); }

using Bits = __m256i;
ND_SIMD Bits set1_bits(uint32_t v) { return _mm256_set1_epi32(static_cast<int>(v)); }
ND_SIMD Bits lane_numbers() { return _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7); }
ND_SIMD Bits as_bits(Vec v) { return _mm256_castps_si256(v); }
ND_SIMD Vec as_floats(Bits v) { return _mm256_castsi256_ps(v); }
ND_SIMD Bits add(Bits a, Bits b) { return _mm256_add_epi32(a, b); }
ND_SIMD Bits sub(Bits a, Bits b) { return _mm256_sub_epi32(a, b); }
ND_SIMD Bits bit_and(Bits a, Bits b) { return _mm256_and_si256(a, b); }
ND_SIMD Bits bit_xor(Bits a, Bits b) { return _mm256_xor_si256(a, b); }
template <int kBy>
ND_SIMD Bits shift_left(Bits v) { return _mm256_slli_epi32(v, kBy); }
template <int kBy>
ND_SIMD Bits shift_right(Bits v) { return _mm256_srli_epi32(v, kBy); }
template <int kBy>
ND_SIMD Bits shift_right_signed(Bits v) { return _mm256_srai_epi32(v, kBy); }
ND_SIMD Bits select(Bits mask, Bits a, Bits b) { return _mm256_blendv_epi8(b, a, mask); }
ND_SIMD Vec signed_to_float(Bits v) { return _mm256_cvtepi32_ps(v); }

struct Wide {
  Bits even, odd;
};
ND_SIMD Wide set1_wide(uint32_t v) { return {set1_bits(v), set1_bits(v)}; }
ND_SIMD Wide widen(Bits v) { return {v, _mm256_srli_epi64(v, 32)}; }
ND_SIMD Bits narrow(Wide v) { return _mm256_blend_epi32(v.even, _mm256_slli_epi64(v.odd, 32), 0xaa); }
ND_SIMD Wide bit_xor(Wide a, Wide b) { return {bit_xor(a.even, b.even), bit_xor(a.odd, b.odd)}; }
ND_SIMD Wide multiply_words(Wide v, uint32_t factor) {
  return {_mm256_mul_epu32(v.even, set1_bits(factor)), _mm256_mul_epu32(v.odd, set1_bits(factor))};
}
ND_SIMD Wide upper_words(Wide v) { return {_mm256_srli_epi64(v.even, 32), _mm256_srli_epi64(v.odd, 32)}; }

ND_SIMD void transpose(Vec v[kWidth]) {
  Vec pairs[kWidth], fours[kWidth];
#pragma GCC unroll 4
  for (int i = 0; i < 8; i += 2) {
    pairs[i] = _mm256_unpacklo_ps(v[i], v[i + 1]);
    pairs[i + 1] = _mm256_unpackhi_ps(v[i], v[i + 1]);
  }
#pragma GCC unroll 2
  for (int i = 0; i < 8; i += 4) {
    fours[i] = _mm256_shuffle_ps(pairs[i], pairs[i + 2], 0x44);
    fours[i + 1] = _mm256_shuffle_ps(pairs[i], pairs[i + 2], 0xee);
    fours[i + 2] = _mm256_shuffle_ps(pairs[i + 1], pairs[i + 3], 0x44);
    fours[i + 3] = _mm256_shuffle_ps(pairs[i + 1], pairs[i + 3], 0xee);
  }
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {
    v[i] = _mm256_permute2f128_ps(fours[i], fours[i + 4], 0x20);
    v[i + 4] = _mm256_permute2f128_ps(fours[i], fours[i + 4], 0x31);
  }
}

ND_SIMD Vec widen(__m128i bits) { return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(bits), 16)); }
ND_SIMD __m128i narrow(Vec v) {
  const __m256i bits = _mm256_castps_si256(v);
  const __m256i odd = _mm256_and_si256(_mm256_srli_epi32(bits, 16), _mm256_set1_epi32(1));
  const __m256i rounded = _mm256_add_epi32(bits, _mm256_add_epi32(odd, _mm256_set1_epi32(0x7fff)));
  const __m256i nan = _mm256_castps_si256(_mm256_cmp_ps(v, v, _CMP_UNORD_Q));
  const __m256i chosen = _mm256_blendv_epi8(rounded, _mm256_set1_epi32(0x7fc00000), nan);
  const __m256i upper = _mm256_srli_epi32(chosen, 16);
  return _mm_packus_epi32(_mm256_castsi256_si128(upper), _mm256_extracti128_si256(upper, 1));
}
ND_SIMD Vec load(const uint16_t* p) { return widen(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p))); }
ND_SIMD void store(uint16_t* p, Vec v) { _mm_storeu_si128(reinterpret_cast<__m128i*>(p), narrow(v)); }
ND_SIMD Vec load_first(const uint16_t* p, int64_t n) {
  alignas(16) uint16_t lanes[kWidth] = {};
  for (int64_t i = 0; i < n; ++i) lanes[i] = p[i];
  return load(lanes);
}
ND_SIMD void store_first(uint16_t* p, Vec v, int64_t n) {
  alignas(16) uint16_t lanes[kWidth];
  store(lanes, v);
  for (int64_t i = 0; i < n; ++i) p[i] = lanes[i];
}

}  // namespace nd::kernels::avx2
