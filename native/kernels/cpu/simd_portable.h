#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>

/// Four lanes in plain C++, which compilers turn into SSE2 or NEON; the functions mirror simd_avx512.h's. There is no
/// fused multiply-add here: std::fma is a library call where the instruction is missing.
namespace nd::kernels::portable {

#define ND_SIMD static inline __attribute__((always_inline))

constexpr int kRegisters = 16;
constexpr int64_t kWidth = 4;
using Vec = float __attribute__((vector_size(16)));

ND_SIMD Vec set1(float v) { return Vec{v, v, v, v}; }
ND_SIMD Vec zero() { return set1(0); }
ND_SIMD Vec load_first(const float* p, int64_t n) {
  Vec v = zero();
  for (int64_t i = 0; i < n; ++i) v[i] = p[i];
  return v;
}
ND_SIMD void store_first(float* p, Vec v, int64_t n) {
  for (int64_t i = 0; i < n; ++i) p[i] = v[i];
}
ND_SIMD Vec load(const float* p) {
  Vec v;
  std::memcpy(&v, p, sizeof v);
  return v;
}
ND_SIMD void store(float* p, Vec v) { std::memcpy(p, &v, sizeof v); }

ND_SIMD Vec add(Vec a, Vec b) { return a + b; }
ND_SIMD Vec sub(Vec a, Vec b) { return a - b; }
ND_SIMD Vec mul(Vec a, Vec b) { return a * b; }
ND_SIMD Vec div(Vec a, Vec b) { return a / b; }
ND_SIMD Vec fma(Vec a, Vec b, Vec c) { return a * b + c; }
/// One rounding, even where it takes that call: for numbers that every instruction set must agree on.
ND_SIMD Vec fused(Vec a, Vec b, Vec c) {
  for (int i = 0; i < kWidth; ++i) a[i] = __builtin_fmaf(a[i], b[i], c[i]);
  return a;
}
ND_SIMD Vec at_most(Vec v, float limit) {
  for (int i = 0; i < kWidth; ++i) v[i] = limit < v[i] ? limit : v[i];
  return v;
}
ND_SIMD Vec at_least(Vec v, float limit) {
  for (int i = 0; i < kWidth; ++i) v[i] = limit > v[i] ? limit : v[i];
  return v;
}
ND_SIMD Vec larger(Vec a, Vec b) {
  for (int i = 0; i < kWidth; ++i) a[i] = a[i] > b[i] ? a[i] : b[i];
  return a;
}
/// Adding and taking away 1.5·2²³ rounds to nearest, ties to even, for |v| < 2²².
ND_SIMD Vec round_to_integer(Vec v) {
  const Vec magic = set1(12582912.0F);
  return (v + magic) - magic;
}
ND_SIMD Vec scale_by_power_of_two(Vec v, Vec n) {
  for (int i = 0; i < kWidth; ++i) {
    if (n[i] != n[i]) continue;  // v is NaN too
    const int32_t exponent = static_cast<int32_t>(n[i]);
    const int32_t half = exponent / 2;
    const uint32_t bits[2] = {static_cast<uint32_t>(half + 127) << 23,
                              static_cast<uint32_t>(exponent - half + 127) << 23};
    float factors[2];
    std::memcpy(factors, bits, sizeof factors);
    v[i] = v[i] * factors[0] * factors[1];
  }
  return v;
}

ND_SIMD Vec square_root(Vec v) {
  for (int i = 0; i < kWidth; ++i) v[i] = std::sqrt(v[i]);
  return v;
}

using Bits = uint32_t __attribute__((vector_size(16)));
using SignedBits = int32_t __attribute__((vector_size(16)));
ND_SIMD Bits set1_bits(uint32_t v) { return Bits{v, v, v, v}; }
ND_SIMD Bits lane_numbers() { return Bits{0, 1, 2, 3}; }
ND_SIMD Bits as_bits(Vec v) { return reinterpret_cast<Bits>(v); }
ND_SIMD Vec as_floats(Bits v) { return reinterpret_cast<Vec>(v); }
ND_SIMD Bits add(Bits a, Bits b) { return a + b; }
ND_SIMD Bits sub(Bits a, Bits b) { return a - b; }
ND_SIMD Bits bit_and(Bits a, Bits b) { return a & b; }
ND_SIMD Bits bit_xor(Bits a, Bits b) { return a ^ b; }
template <int kBy>
ND_SIMD Bits shift_left(Bits v) { return v << kBy; }
template <int kBy>
ND_SIMD Bits shift_right(Bits v) { return v >> kBy; }
template <int kBy>
ND_SIMD Bits shift_right_signed(Bits v) {
  return reinterpret_cast<Bits>(reinterpret_cast<SignedBits>(v) >> kBy);
}
ND_SIMD Bits select(Bits mask, Bits a, Bits b) { return (a & mask) | (b & ~mask); }
ND_SIMD Vec signed_to_float(Bits v) {
  Vec f;
  for (int i = 0; i < kWidth; ++i) f[i] = static_cast<float>(static_cast<int32_t>(v[i]));
  return f;
}

struct Wide {
  uint64_t word[kWidth];
};
ND_SIMD Wide set1_wide(uint32_t v) { return {v, v, v, v}; }
ND_SIMD Wide widen(Bits v) { return {v[0], v[1], v[2], v[3]}; }
ND_SIMD Bits narrow(const Wide& v) {
  Bits words;
  for (int i = 0; i < kWidth; ++i) words[i] = static_cast<uint32_t>(v.word[i]);
  return words;
}
ND_SIMD Wide bit_xor(Wide a, const Wide& b) {
  for (int i = 0; i < kWidth; ++i) a.word[i] ^= b.word[i];
  return a;
}
ND_SIMD Wide multiply_words(Wide v, uint32_t factor) {
  for (uint64_t& word : v.word) word = uint64_t{static_cast<uint32_t>(word)} * factor;
  return v;
}
ND_SIMD Wide upper_words(Wide v) {
  for (uint64_t& word : v.word) word >>= 32;
  return v;
}

ND_SIMD void transpose(Vec v[kWidth]) {
  for (int i = 0; i < kWidth; ++i) {
    for (int j = 0; j < i; ++j) {
      const float lane = v[i][j];
      v[i][j] = v[j][i];
      v[j][i] = lane;
    }
  }
}

ND_SIMD Vec load_first(const uint16_t* p, int64_t n) {
  Vec v = zero();
  for (int64_t i = 0; i < n; ++i) {
    const uint32_t bits = static_cast<uint32_t>(p[i]) << 16;
    float lane;
    std::memcpy(&lane, &bits, sizeof lane);
    v[i] = lane;
  }
  return v;
}
ND_SIMD void store_first(uint16_t* p, Vec v, int64_t n) {
  for (int64_t i = 0; i < n; ++i) {
    const float lane = v[i];
    uint32_t bits;
    std::memcpy(&bits, &lane, sizeof bits);
    p[i] = lane != lane ? uint16_t{0x7fc0} : static_cast<uint16_t>((bits + 0x7fffU + ((bits >> 16) & 1U)) >> 16);
  }
}
ND_SIMD Vec load(const uint16_t* p) { return load_first(p, kWidth); }
ND_SIMD void store(uint16_t* p, Vec v) { store_first(p, v, kWidth); }

}  // namespace nd::kernels::portable
