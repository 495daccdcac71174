#include "core/sampling/noise_source.h"

#include <ATen/CPUGeneratorImpl.h>
#include <ATen/Parallel.h>

#include "check.h"

using namespace nd;

namespace {

at::Generator seeded(uint64_t seed) { return at::detail::createCPUGenerator(seed); }

/// What diffusers' randn_tensor does with a list: one draw a sample, then cat.
at::Tensor one_by_one(std::vector<int64_t> shape, const std::vector<at::Generator>& generators, at::TensorOptions options) {
  shape[0] = 1;
  std::vector<at::Tensor> samples;
  for (const auto& generator : generators) samples.push_back(at::randn(shape, generator, options));
  return at::cat(samples);
}

}  // namespace

TEST("a list's draws are those of one generator after another, for every size, dtype and number of threads") {
  const int threads = at::get_num_threads();
  for (const auto dtype : {at::kFloat, at::kDouble, at::kHalf, at::kBFloat16}) {
    // Below 16 numbers, and where 16 does not divide them, torch takes other ways.
    for (const int64_t numel : {1, 2, 15, 16, 17, 33, 100, 3072, 20'001}) {
      for (const int count : {1, 2, 3}) {
        at::set_num_threads(count);
        const std::vector<int64_t> shape{5, numel};
        const auto drawn = randn(shape, {seeded(1), seeded(2), seeded(3), seeded(4), seeded(5)}, dtype);
        EXPECT(at::equal(drawn, one_by_one(shape, {seeded(1), seeded(2), seeded(3), seeded(4), seeded(5)}, dtype)));
      }
    }
  }
  at::set_num_threads(threads);
}

TEST("one generator twice in a list draws for its samples in turn, and goes on where they end") {
  const int threads = at::get_num_threads();
  at::set_num_threads(2);
  for (const int64_t numel : {3, 16, 400'000}) {
    const auto one = seeded(1), other = seeded(2), same_one = seeded(1), same_other = seeded(2);
    const std::vector<int64_t> shape{4, numel};
    // Cut in halves, the second would begin with the generator that the first comes to last.
    const auto drawn = randn(shape, {one, other, other, one}, at::kFloat);
    EXPECT(at::equal(drawn, one_by_one(shape, {same_one, same_other, same_other, same_one}, at::kFloat)));
    EXPECT(at::equal(at::randn({9}, one), at::randn({9}, same_one)));
    EXPECT(at::equal(at::randn({9}, other), at::randn({9}, same_other)));
  }
  at::set_num_threads(threads);
}

TEST("a list of generators wants a batch") {
  EXPECT_ERROR(shape, "must have a batch dimension", randn({}, {seeded(1), seeded(2)}, at::kFloat));
  EXPECT_ERROR(argument, "one per sample (3), got 2", randn({3, 2}, {seeded(1), seeded(2)}, at::kFloat));
}

TEST("a sample that wants no noise gets 0 and leaves its generator alone") {
  for (const int64_t numel : {5, 20'000}) {
    const auto drawing = seeded(1), idle = seeded(2);
    const auto drawn = draw_step_noise({.given = {}, .generators = {idle, drawing}}, {false, true}, {2, numel}, at::kFloat);
    EXPECT(at::equal(drawn[0], at::zeros({numel})));
    EXPECT(at::equal(drawn[1], at::randn({numel}, seeded(1))));
    EXPECT(at::equal(at::randn({9}, idle), at::randn({9}, seeded(2))));
  }
}
