#pragma once

#include <bit>
#include <cstdint>

namespace nd::kernels::cuda {

/// n / d by a product (Granlund & Montgomery 1994), for 0 ≤ n < 2³¹ and d > 0: ⌊n·m/2^(31 + s)⌋ with s = ⌈log₂ d⌉ and
/// m = ⌈2^(31 + s)/d⌉.
struct Divisor {
  uint32_t factor = 0, shift = 0;
};
inline Divisor divisor(int d) {
  const auto bits = static_cast<uint32_t>(31 + std::bit_width(static_cast<uint32_t>(d) - 1));
  return {static_cast<uint32_t>(((uint64_t{1} << bits) + static_cast<uint32_t>(d) - 1) / static_cast<uint32_t>(d)), bits};
}

}  // namespace nd::kernels::cuda
