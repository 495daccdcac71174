#include <ATen/Functions.h>
#include <ATen/TensorOperators.h>
#include <ATen/core/PhiloxRNGEngine.h>

#include <array>
#include <cmath>
#include <numbers>
#include <vector>

#include "check.h"
#include "kernels/cpu/fused_step_kernels.h"
#include "kernels/cpu/simd_portable.h"
#include "kernels/kernel_check.h"

namespace nd::kernels::portable {
namespace {
#include "kernels/philox_body.h"
}
}  // namespace nd::kernels::portable

namespace {

namespace plain = nd::kernels::portable;
using nd::kernels::Isa;
using nd::kernels::PhiloxKey;
using Words = std::array<uint32_t, 4>;

/// The words of one counter, by the body that every instruction set compiles.
Words words_of(Words counter, uint32_t key0, uint32_t key1) {
  plain::Bits word[1][4];
  for (int j = 0; j < 4; ++j) word[0][j] = plain::set1_bits(counter[j]);
  plain::philox<1>(word, key0, key1);
  return {word[0][0][3], word[0][1][3], word[0][2][3], word[0][3][3]};
}

/// The words of counter `index` of a draw, by libtorch's own Philox, which also runs on CUDA.
Words torch_words(PhiloxKey key, uint64_t index) {
  at::philox_engine engine(key.seed, key.draw, index);
  Words words;
  for (uint32_t& word : words) word = engine();
  return words;
}

at::Tensor normals(int64_t numel, PhiloxKey key, Isa isa = nd::kernels::best_isa()) {
  at::Tensor z = at::empty({numel}, at::kFloat);
  nd::kernels::philox_normal_on(isa, z.mutable_data_ptr<float>(), numel, key);
  return z;
}

/// Box and Muller in double.
std::array<double, 2> exact_pair(uint32_t w0, uint32_t w1) {
  const double radius = std::sqrt(-2.0 * std::log(w0 * 0x1p-32 + 0x1p-33));  // u is exact
  const double angle = 2.0 * std::numbers::pi * w1 * 0x1p-32;
  return {radius * std::cos(angle), radius * std::sin(angle)};
}

double correlation(const at::Tensor& a, const at::Tensor& b) { return (a.to(at::kDouble) * b.to(at::kDouble)).mean().item<double>(); }

/// Of the radius of the pair.
constexpr double kTolerance = 3e-7;

constexpr PhiloxKey kKey{0x243F6A8885A308D3U, 7};

}  // namespace

TEST("Philox4x32-10 gives the answers that Random123 publishes") {
  const uint32_t all = 0xFFFFFFFF;
  EXPECT(words_of({0, 0, 0, 0}, 0, 0) == (Words{0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8}));
  EXPECT(words_of({all, all, all, all}, all, all) == (Words{0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD}));
  EXPECT(words_of({0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344}, 0xA4093822, 0x299F31D0) ==
         (Words{0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1}));
}

TEST("element e is word (e mod 64) / 16 of counter e / 64 · 16 + e mod 16, within float rounding of the exact normal") {
  for (const PhiloxKey key : {PhiloxKey{0, 0}, kKey, PhiloxKey{~uint64_t{0}, ~uint32_t{0}}}) {
    const at::Tensor z = normals(1 << 16, key);
    for (int64_t e = 0; e < z.numel(); ++e) {
      const int64_t j = e % 64 / 16;
      const Words words = torch_words(key, static_cast<uint64_t>(e / 64 * 16 + e % 16));
      const auto exact = exact_pair(words[j / 2 * 2], words[j / 2 * 2 + 1]);
      EXPECT_NEAR(z.const_data_ptr<float>()[e], exact[j % 2], kTolerance * std::hypot(exact[0], exact[1]));
    }
  }
}

TEST("counters go on beyond 2³²") {
  for (const uint64_t counter : {uint64_t{1} << 32, (uint64_t{5} << 32) - 4, uint64_t{0x123456789ABCDEF0}}) {
    plain::Vec z[1][4];
    plain::philox_normals<1>(counter, kKey.seed, kKey.draw, z);
    for (int lane = 0; lane < plain::kWidth; ++lane) {
      const Words words = torch_words(kKey, counter + static_cast<uint64_t>(lane));
      for (int j = 0; j < 4; ++j) {
        const auto exact = exact_pair(words[j / 2 * 2], words[j / 2 * 2 + 1]);
        EXPECT_NEAR(z[0][j][lane], exact[j % 2], kTolerance * std::hypot(exact[0], exact[1]));
      }
    }
  }
}

TEST("words at the edges of quarters and of the logarithm's range") {
  const std::vector<uint32_t> edges = {0,          1,          2,          0x1FFFFFFF, 0x20000000, 0x20000001, 0x3FFFFFFF,
                                       0x40000000, 0x40000001, 0x60000000, 0x7FFFFFFF, 0x80000000, 0xA0000000, 0xB504F333,
                                       0xC0000000, 0xE0000000, 0xFFFFFF00, 0xFFFFFF7F, 0xFFFFFF80, 0xFFFFFFFF};
  for (const uint32_t w0 : edges) {
    for (const uint32_t w1 : edges) {
      plain::Vec z0, z1;
      plain::box_muller(plain::set1_bits(w0), plain::set1_bits(w1), z0, z1);
      const auto exact = exact_pair(w0, w1);
      EXPECT_NEAR(z0[0], exact[0], kTolerance * std::hypot(exact[0], exact[1]));
      EXPECT_NEAR(z1[0], exact[1], kTolerance * std::hypot(exact[0], exact[1]));
    }
  }
}

TEST("the same bits on every instruction set, and a shorter draw is the beginning of a longer") {
  const at::Tensor whole = normals(70'001, kKey, Isa::portable);
  for (const Isa isa : isas()) {
    for (const int64_t numel : {1, 15, 16, 17, 63, 64, 65, 100, 3072, 16'384, 16'385, 70'001}) {
      EXPECT(same_bits(normals(numel, kKey, isa), whole.narrow(0, 0, numel)));
    }
  }
}

TEST("normally distributed: moments, Kolmogorov and Smirnov, tails") {
  const int64_t count = 1 << 22;
  for (const uint64_t seed : {uint64_t{0}, uint64_t{1}, uint64_t{1234567}}) {
    const at::Tensor z = std::get<0>(normals(count, {seed, 0}).to(at::kDouble).sort());
    const double root = std::sqrt(static_cast<double>(count));
    // Four standard deviations of each estimate.
    EXPECT_NEAR(z.mean().item<double>(), 0.0, 4.0 / root);
    EXPECT_NEAR(z.pow(2).mean().item<double>(), 1.0, 4.0 * std::sqrt(2.0) / root);
    EXPECT_NEAR(z.pow(3).mean().item<double>(), 0.0, 4.0 * std::sqrt(15.0) / root);
    EXPECT_NEAR(z.pow(4).mean().item<double>(), 3.0, 4.0 * std::sqrt(96.0) / root);
    const at::Tensor expected = at::special_ndtr(z), place = at::arange(1, count + 1, at::kDouble).div(count);
    const double distance = (place - expected).abs().max().item<double>();
    EXPECT(distance * root < 1.95);  // passed with probability 0.999
    const double beyond = 6.334e-5 * static_cast<double>(count);  // P(|z| > 4)
    EXPECT_NEAR((z.abs() > 4).sum().item<double>(), beyond, 4.0 * std::sqrt(beyond));
  }
}

TEST("neighbours, draws and seeds are independent") {
  const int64_t count = 1 << 20;
  const double bound = 4.5 / std::sqrt(static_cast<double>(count));
  const at::Tensor z = normals(count + 64, kKey);
  const at::Tensor first = z.narrow(0, 0, count);
  // Lanes of a counter's words lie 16 apart.
  for (const int64_t lag : {1, 2, 16, 32, 48, 64}) {
    EXPECT_NEAR(correlation(first, z.narrow(0, lag, count)), 0.0, bound);
    EXPECT_NEAR(correlation(first.pow(2) - 1, z.narrow(0, lag, count).pow(2) - 1), 0.0, 2.0 * bound);
  }
  for (const PhiloxKey other : {PhiloxKey{kKey.seed, kKey.draw + 1}, PhiloxKey{kKey.seed + 1, kKey.draw},
                                PhiloxKey{kKey.seed ^ (uint64_t{1} << 32), kKey.draw}}) {
    EXPECT_NEAR(correlation(first, normals(count, other)), 0.0, bound);
  }
}
