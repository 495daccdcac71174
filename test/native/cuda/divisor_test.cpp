#include "kernels/cuda/divisor.h"

#include <cstdint>

#include "check.h"

using nd::kernels::cuda::Divisor;
using nd::kernels::cuda::divisor;

namespace {

/// elements.cuh's quotient, which the kernels alone can call.
int64_t quotient(int64_t n, Divisor d) { return static_cast<int64_t>(static_cast<uint64_t>(n) * d.factor >> d.shift); }

constexpr int kMost = 0x7FFFFFFF;

}  // namespace

TEST("a product gives the quotient of every dividend below 2³¹") {
  for (const int d : {1, 2, 3, 5, 6, 7, 9, 31, 32, 33, 100, 641, 65'535, 65'537, (1 << 30) - 1, 1 << 30, (1 << 30) + 1, kMost - 1, kMost}) {
    const Divisor by = divisor(d);
    // Where a quotient changes, at both ends and in between.
    const int64_t last = kMost / d, step = last / 1000 + 1;
    for (int64_t q = 0; q <= last; q += step) {
      EXPECT_EQUAL(quotient(q * d, by), q);
      if (q > 0) EXPECT_EQUAL(quotient(q * d - 1, by), q - 1);
    }
    EXPECT_EQUAL(quotient(last * d, by), last);
    EXPECT_EQUAL(quotient(last * d - 1, by), last - 1);
    EXPECT_EQUAL(quotient(kMost, by), last);
  }
}
