#include "kernels/fused_step.h"

#include <ATen/Functions.h>
#include <ATen/Parallel.h>
#include <ATen/TensorOperators.h>

#include <limits>
#include <vector>

#include "check.h"
#include "kernels/cpu/fused_step_kernels.h"
#include "kernels/fused_ops.h"
#include "kernels/kernel_check.h"

namespace {

using nd::LearnedVariance;
using nd::StepInputs;
using nd::StepRow;
using nd::kernels::Isa;
using nd::kernels::PhiloxKey;
using nd::kernels::SampleStep;

constexpr float kInfinity = std::numeric_limits<float>::infinity();

at::Tensor random(at::IntArrayRef sizes, uint64_t seed) {
  return at::randn(sizes, at::detail::createCPUGenerator(seed), at::kFloat);
}

/// Rows of every kind: ᾱ = 0 with its d = 0, clipped and not, without noise and with. (Whether there is a clip, the
/// reference asks the first.)
const std::vector<StepRow> kRows = {
    {.p = 1, .q = -0.999F, .d = 0, .bound = 1, .c_x0 = 0.06F, .c_xt = 0.1F, .sigma = 0, .log_beta = -1, .log_posterior_variance = -20},
    {.p = 1.25F, .q = -0.75F, .d = 0.6F, .c_x0 = 0.8F, .c_out = 0.3F, .sigma = 0.2F, .log_beta = -3, .log_posterior_variance = -5},
    {.p = 1, .q = -0.37F, .d = 0.929F, .bound = 1.5F, .c_x0 = 0.46F, .c_xt = 0.53F, .sigma = 1, .log_beta = -4.6F, .log_posterior_variance = -6},
};

/// A batch of kRows.size() samples of `numel`, among ordinary numbers the odd ones.
struct Batch {
  at::Tensor x, out, variance, noise, prev, x0;
  std::vector<SampleStep> samples;

  int64_t numel() const { return x.size(1); }

  void point() {
    const auto row_of = [this](const at::Tensor& t, size_t i) {
      return t.defined() ? t.mutable_data_ptr<float>() + static_cast<int64_t>(i) * numel() : nullptr;
    };
    for (size_t i = 0; i < samples.size(); ++i) {
      SampleStep& s = samples[i];
      s.x = row_of(x, i), s.out = row_of(out, i), s.variance = row_of(variance, i), s.noise = row_of(noise, i);
      s.prev = row_of(prev, i), s.x0 = row_of(x0, i);
    }
  }

  void run(Isa isa) {
    prev.fill_(7);
    x0.fill_(7);
    nd::kernels::fused_step_on(isa, samples.data(), static_cast<int64_t>(samples.size()), numel());
  }
};

void sprinkle(at::Tensor& t, int64_t first) {
  const float odd[] = {std::nanf(""), kInfinity, -kInfinity, -0.0F, 0.0F, 3e38F, -3e38F, 1e-40F, -1e-40F, 1.0F};
  float* values = t.mutable_data_ptr<float>();
  for (int64_t i = first, j = 0; i < t.numel(); i += 11, ++j) values[i] = odd[j % 10];
}

Batch make_batch(int64_t numel, LearnedVariance learned, bool noisy) {
  const auto count = static_cast<int64_t>(kRows.size());
  Batch b;
  b.x = random({count, numel}, 1);
  b.out = random({count, numel}, 2);
  sprinkle(b.x, 3);
  sprinkle(b.out, 8);
  if (noisy) b.noise = random({count, numel}, 3);
  if (learned == LearnedVariance::direct) b.variance = random({count, numel}, 4).abs();
  if (learned == LearnedVariance::range) b.variance = random({count, numel}, 4).clamp(-1.2, 1.2);
  b.prev = at::empty({count, numel});
  b.x0 = at::empty({count, numel});
  for (const StepRow& row : kRows) b.samples.push_back({.row = row, .learned = learned, .philox = nullptr});
  b.point();
  return b;
}

nd::StepOutputs reference(const Batch& b, std::optional<nd::DynamicThreshold> threshold = {}) {
  std::vector<StepRow> rows;
  for (const SampleStep& s : b.samples) rows.push_back(s.row);
  StepInputs in{b.x, b.out, b.noise, b.variance, b.samples.front().learned, threshold};
  return nd::affine_step_reference(rows, in);
}

/// The bits, whichever NaN a NaN is.
bool same(const at::Tensor& a, const at::Tensor& b) {
  return same_bits(at::nan_to_num(a, 12345.0, kInfinity, -kInfinity), at::nan_to_num(b, 12345.0, kInfinity, -kInfinity)) &&
         at::equal(a.isnan(), b.isnan());
}

const int64_t kSizes[] = {1, 3, 7, 15, 16, 17, 33, 63, 64, 65, 100, 3072, 20'000};

}  // namespace

TEST("the reference's bits: every row, size and instruction set, NaN and the infinities among the numbers") {
  for (const int64_t numel : kSizes) {
    for (const bool noisy : {false, true}) {
      Batch b = make_batch(numel, LearnedVariance::none, noisy);
      const auto wanted = reference(b);
      for (const Isa isa : isas()) {
        b.run(isa);
        EXPECT(same(b.prev, wanted.prev_sample));
        EXPECT(same(b.x0, wanted.pred_original_sample));
      }
    }
  }
}

TEST("with a learned variance within 1e-6, the same bits on every instruction set") {
  for (const int64_t numel : kSizes) {
    for (const auto learned : {LearnedVariance::direct, LearnedVariance::range}) {
      Batch b = make_batch(numel, learned, true);
      const auto wanted = reference(b);
      b.run(Isa::portable);
      const at::Tensor portable = b.prev.clone();
      EXPECT(at::allclose(portable, wanted.prev_sample, 1e-6, 1e-6, /*equal_nan=*/true));
      for (const Isa isa : isas()) {
        b.run(isa);
        EXPECT(same(b.prev, portable));
        EXPECT(same(b.x0, wanted.pred_original_sample));
      }
    }
  }
}

TEST("dynamic thresholding's s bounds and divides") {
  for (const int64_t numel : kSizes) {
    Batch b = make_batch(numel, LearnedVariance::none, true);
    b.x = random(b.x.sizes(), 1);
    b.out = random(b.x.sizes(), 2);
    b.point();
    const auto wanted = reference(b, nd::DynamicThreshold{0.9, 3.0});
    // x0 before the division by s is x0·s: here s is taken from a run of the reference's own quantile.
    for (SampleStep& s : b.samples) s.row.bound = kInfinity;
    b.run(Isa::portable);
    const at::Tensor magnitude = b.x0.abs().clamp_max(std::numeric_limits<float>::max());
    for (size_t i = 0; i < b.samples.size(); ++i) {
      const at::Tensor s = at::quantile(magnitude[static_cast<int64_t>(i)], 0.9).clamp(1.0, 3.0);
      b.samples[i].row.bound = b.samples[i].k = s.item<float>();
    }
    for (const Isa isa : isas()) {
      b.run(isa);
      EXPECT(same(b.prev, wanted.prev_sample));
      EXPECT(same(b.x0, wanted.pred_original_sample));
    }
  }
}

TEST("x0 may be left out, prev may be x, and nothing beside them is written") {
  for (const int64_t numel : kSizes) {
    Batch b = make_batch(numel, LearnedVariance::none, true);
    const auto wanted = reference(b);
    for (const Isa isa : isas()) {
      at::Tensor x = at::full({static_cast<int64_t>(kRows.size()), numel + 2}, 5.0F);
      x.narrow(1, 1, numel).copy_(b.x);
      std::vector<SampleStep> samples = b.samples;
      for (size_t i = 0; i < samples.size(); ++i) {
        samples[i].x = samples[i].prev = x[static_cast<int64_t>(i)].mutable_data_ptr<float>() + 1;
        samples[i].x0 = nullptr;
      }
      nd::kernels::fused_step_on(isa, samples.data(), static_cast<int64_t>(samples.size()), numel);
      EXPECT(same(x.narrow(1, 1, numel).contiguous(), wanted.prev_sample));
      EXPECT((x.select(1, 0) == 5).all().item<bool>() && (x.select(1, numel + 1) == 5).all().item<bool>());
    }
  }
}

TEST("Philox's z in registers is philox_normal's, and without σ no z counts") {
  const PhiloxKey key{99, 3};
  for (const int64_t numel : kSizes) {
    for (const auto learned : {LearnedVariance::none, LearnedVariance::direct, LearnedVariance::range}) {
      Batch given = make_batch(numel, learned, true);
      for (int64_t i = 0; i < given.noise.size(0); ++i) {
        nd::kernels::philox_normal(given.noise[i].mutable_data_ptr<float>(), numel, {key.seed + static_cast<uint64_t>(i), key.draw});
      }
      given.noise[0].fill_(std::nanf(""));  // its σ is 0
      std::vector<PhiloxKey> keys;
      for (size_t i = 0; i < given.samples.size(); ++i) keys.push_back({key.seed + i, key.draw});
      for (const Isa isa : isas()) {
        given.run(isa);
        Batch made = given;
        made.prev = at::empty_like(given.prev);
        made.x0 = at::empty_like(given.x0);
        made.noise.reset();
        made.point();
        for (size_t i = 0; i < keys.size(); ++i) made.samples[i].philox = &keys[i];
        made.run(isa);
        EXPECT(same(made.prev, given.prev));
        EXPECT(same(given.prev[0], reference(make_batch(numel, learned, false)).prev_sample[0]));
      }
    }
  }
}

TEST("a sample's bits depend on neither its slot, its neighbours nor the threads") {
  const int threads = at::get_num_threads();
  const std::vector<PhiloxKey> keys = {{1, 2}, {3, 4}, {5, 6}};
  for (const int64_t numel : {100, 20'000, 40'000}) {
    Batch b = make_batch(numel, LearnedVariance::range, false);
    for (size_t i = 0; i < keys.size(); ++i) b.samples[i].philox = &keys[i];
    for (const Isa isa : isas()) {
      at::set_num_threads(1);
      b.run(isa);
      const at::Tensor whole = b.prev.clone();
      for (const int count : {2, 3, 5}) {
        at::set_num_threads(count);
        b.run(isa);
        EXPECT(same(b.prev, whole));
        for (size_t i = 0; i < keys.size(); ++i) {
          b.prev.fill_(7);
          nd::kernels::fused_step_on(isa, &b.samples[i], 1, numel);
          EXPECT(same(b.prev[static_cast<int64_t>(i)], whole[static_cast<int64_t>(i)]));
        }
      }
    }
  }
  at::set_num_threads(threads);
}
