#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <random>
#include <vector>

#include "cuda/device_memory.h"

// Values of the tests: float32 numbers that an element type holds exactly, and its bits.
namespace values {

using nd::kernels::cuda::Element;

inline std::vector<float> random(int64_t count, uint64_t seed, float mean = 0, float deviation = 1) {
  std::mt19937_64 bits(seed);
  std::normal_distribution<float> normal(mean, deviation);
  std::vector<float> v(static_cast<size_t>(count));
  for (float& value : v) value = normal(bits);
  return v;
}

inline int mantissa_bits(Element element) { return element == Element::f32 ? 24 : element == Element::f16 ? 11 : 8; }
/// The distance of neighbours next to v: a rounding errs by half of it.
inline double spacing(Element element, double v) {
  const int lowest = element == Element::f16 ? -24 : -149;
  return std::ldexp(1.0, std::max(std::ilogb(v == 0 ? 1e-300 : v) + 1 - mantissa_bits(element), lowest));
}

inline float to_float(Element element, const unsigned char* p) {
  if (element == Element::f32) {
    float v;
    std::memcpy(&v, p, sizeof v);
    return v;
  }
  uint16_t bits;
  std::memcpy(&bits, p, sizeof bits);
  if (element == Element::bf16) {
    const uint32_t wide = static_cast<uint32_t>(bits) << 16;
    float v;
    std::memcpy(&v, &wide, sizeof v);
    return v;
  }
  const int exponent = bits >> 10 & 31, mantissa = bits & 1023;
  const float sign = (bits & 0x8000) != 0 ? -1.0F : 1.0F;
  if (exponent == 31) return mantissa != 0 ? std::nanf("") : sign * INFINITY;
  return sign * std::ldexp(static_cast<float>(exponent == 0 ? mantissa : mantissa + 1024), std::max(exponent, 1) - 25);
}

/// v's neighbour nearest to it in `element`; v itself where it is not finite.
inline float rounded(Element element, float v) {
  if (element == Element::f32 || !std::isfinite(v)) return v;
  const double unit = spacing(element, v);
  return static_cast<float>(std::nearbyint(v / unit) * unit);
}
inline std::vector<float> rounded(Element element, std::vector<float> v) {
  for (float& value : v) value = rounded(element, value);
  return v;
}

inline size_t size_of(Element element) { return element == Element::f32 ? 4 : 2; }

/// As the element's bits. The values must be rounded.
inline std::vector<unsigned char> encode(Element element, const std::vector<float>& v) {
  std::vector<unsigned char> bytes(v.size() * size_of(element));
  for (size_t i = 0; i < v.size(); ++i) {
    uint32_t wide;
    std::memcpy(&wide, &v[i], sizeof wide);
    if (element == Element::f32) {
      std::memcpy(&bytes[4 * i], &wide, 4);
      continue;
    }
    uint16_t bits = static_cast<uint16_t>(wide >> 16);
    if (element == Element::f16) {
      const uint16_t sign = bits & 0x8000;
      const float magnitude = std::fabs(v[i]);
      if (std::isnan(v[i])) {
        bits = 0x7E00;
      } else if (std::isinf(v[i])) {
        bits = sign | 0x7C00;
      } else {
        const int exponent = magnitude < 0x1p-14F ? -14 : std::ilogb(magnitude);
        const int units = static_cast<int>(std::ldexp(magnitude, 10 - exponent));
        bits = static_cast<uint16_t>(sign + ((exponent + 14) << 10) + units);
      }
    }
    std::memcpy(&bytes[2 * i], &bits, 2);
  }
  return bytes;
}
inline std::vector<float> decode(Element element, const std::vector<unsigned char>& bytes) {
  std::vector<float> v(bytes.size() / size_of(element));
  for (size_t i = 0; i < v.size(); ++i) v[i] = to_float(element, &bytes[i * size_of(element)]);
  return v;
}

/// The bits, whichever NaN a NaN is.
inline bool same(const std::vector<float>& a, const std::vector<float>& b) {
  if (a.size() != b.size()) return false;
  for (size_t i = 0; i < a.size(); ++i) {
    if (std::isnan(a[i]) ? !std::isnan(b[i]) : std::memcmp(&a[i], &b[i], sizeof a[i]) != 0) return false;
  }
  return true;
}

constexpr Element kElements[] = {Element::f32, Element::f16, Element::bf16};

}  // namespace values
