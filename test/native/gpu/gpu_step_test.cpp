#include <ATen/ATen.h>

#include <limits>

#include "gpu/gpu_helpers.h"
#include "kernels/kernel_check.h"
#include "kernels/step_inputs.h"

using namespace nd;
using namespace nd::test;

namespace {

/// There, with the same strides; a learned variance stays the second half of one output with the prediction.
StepInputs on_gpu(const StepInputs& in, at::MemoryFormat format = at::MemoryFormat::Contiguous) {
  StepInputs there = in;
  there.sample = in.sample.to(kGpu);
  if (in.noise.defined()) there.noise = in.noise.to(kGpu);
  if (in.learned_variance.defined()) {
    const auto channels = in.sample.size(1);
    const auto whole = at::cat({in.model_output, in.learned_variance}, 1).to(kGpu).contiguous(format);
    there.model_output = whole.narrow(1, 0, channels);
    there.learned_variance = whole.narrow(1, channels, channels);
  } else {
    there.model_output = in.model_output.dim() == 4 ? in.model_output.to(kGpu).contiguous(format) : in.model_output.to(kGpu);
  }
  return there;
}

void expect_same_bits(const StepOutputs& got, const StepOutputs& wanted) {
  for (const auto& [a, b] : {std::pair(got.prev_sample, wanted.prev_sample),
                             std::pair(got.pred_original_sample, wanted.pred_original_sample)}) {
    EXPECT_EQUAL(a.defined(), b.defined());
    if (!a.defined()) continue;
    EXPECT(a.device() == kGpu && a.scalar_type() == b.scalar_type() && a.sizes() == b.sizes());
    EXPECT(same_bits(a.cpu().contiguous(), b.contiguous()));
  }
}

void expect_cpu_bits(const std::vector<StepRow>& rows, const StepInputs& in) {
  for (const auto format : {at::MemoryFormat::Contiguous, at::MemoryFormat::ChannelsLast}) {
    expect_same_bits(affine_step(rows, on_gpu(in, format)), affine_step(rows, in));
  }
}

void expect_close_to_cpu(const std::vector<StepRow>& rows, const StepInputs& in, double tolerance) {
  const auto got = affine_step(rows, on_gpu(in)), wanted = affine_step(rows, in);
  EXPECT(got.prev_sample.device() == kGpu && got.prev_sample.scalar_type() == wanted.prev_sample.scalar_type());
  EXPECT(relative_error(got.prev_sample.cpu(), wanted.prev_sample) <= tolerance);
  EXPECT(relative_error(got.pred_original_sample.cpu(), wanted.pred_original_sample) <= tolerance);
}

TEST("affine_step has the CPU's bits: rows of their own, clip, noise, x0 wanted or not, every layout") {
  for (const bool clipped : {false, true}) {
    for (const std::vector<int64_t>& shape : std::vector<std::vector<int64_t>>{{3, 3, 32, 32}, {3, 1, 5, 7}, {3, 4, 1, 9}, {3, 2, 64, 40}}) {
      auto in = inputs(shape);
      expect_cpu_bits(rows(clipped), in);
      in.want_x0 = false;
      expect_cpu_bits(rows(clipped), in);
      in.noise.reset();
      expect_cpu_bits(rows(clipped), in);
      expect_cpu_bits({rows(clipped)[0]}, in);
    }
  }
}

TEST("affine_step has the CPU's bits for a half model's output, its noise too") {
  for (const auto dtype : {at::kBFloat16, at::kHalf}) {
    auto in = inputs({3, 3, 16, 16});
    in.model_output = in.model_output.to(dtype);
    in.noise = in.noise.to(dtype);
    expect_cpu_bits(rows(true), in);
  }
}

TEST("affine_step has the CPU's bits for a learned range of variances") {
  auto in = inputs({3, 4, 10, 10});
  in.learned = LearnedVariance::range;
  in.learned_variance = random({3, 4, 10, 10}, 8);
  auto each_noisy = rows(true);
  each_noisy[1].sigma = 1;
  expect_cpu_bits(each_noisy, in);
}

TEST("NaN and infinite predictions go the CPU's way") {
  auto in = inputs({3, 3, 8, 8});
  in.model_output.view(-1)[0] = std::numeric_limits<float>::quiet_NaN();
  in.model_output.view(-1)[200] = std::numeric_limits<float>::infinity();
  const auto got = affine_step(rows(true), on_gpu(in)), wanted = affine_step(rows(true), in);
  EXPECT(at::allclose(got.prev_sample.cpu(), wanted.prev_sample, 0, 0, /*equal_nan=*/true));
}

TEST("what the kernel does not take goes the plain way: thresholds, float64, given variances, other ranks") {
  auto in = inputs({3, 3, 16, 16});
  in.threshold = DynamicThreshold{0.995, 2.0};
  expect_close_to_cpu(rows(false), in, 1e-6);
  in = inputs({3, 3, 16, 16});
  in.sample = in.sample.to(at::kDouble);
  expect_close_to_cpu(rows(true), in, 1e-12);
  in = inputs({3, 3, 16, 16});
  in.learned = LearnedVariance::direct;
  in.learned_variance = random({3, 3, 16, 16}, 8).abs();
  expect_close_to_cpu(rows(true), in, 1e-6);
  expect_close_to_cpu(rows(true), inputs({3, 40}), 1e-6);
}

TEST("scheduler_step has the CPU's bits: DDPM, DDIM, η, jumps of their own, given noise") {
  const auto x = random({3, 3, 16, 16}, 1), out = random({3, 3, 16, 16}, 2), z = random({3, 3, 16, 16}, 3);
  for (const auto kind : {SchedulerKind::ddpm, SchedulerKind::ddim}) {
    const auto scheduler = scheduler_of({.kind = kind, .steps = 20});
    for (const double eta : {0.0, 0.6, 1.0}) {
      if (kind == SchedulerKind::ddpm && eta > 0) continue;
      const JumpOptions jump{.timesteps = {950, 400, 0}, .eta = {eta}};
      const auto wanted = scheduler_step(*scheduler, out, x, jump, {.given = z});
      for (const auto format : {at::MemoryFormat::Contiguous, at::MemoryFormat::ChannelsLast}) {
        const auto there = out.to(kGpu).contiguous(format);
        expect_same_bits(scheduler_step(*scheduler, there, x.to(kGpu), jump, {.given = z.to(kGpu)}), wanted);
      }
    }
  }
}

TEST("scheduler_step draws a CPU generator's numbers for a sample on the GPU") {
  const auto scheduler = scheduler_of({.kind = SchedulerKind::ddpm, .steps = 20});
  const auto x = random({2, 3, 16, 16}, 1), out = random({2, 3, 16, 16}, 2);
  const JumpOptions jump{.timesteps = {500}};
  const auto wanted = scheduler_step(*scheduler, out, x, jump, {.generators = {seeded(4), seeded(5)}});
  expect_same_bits(scheduler_step(*scheduler, out.to(kGpu), x.to(kGpu), jump, {.generators = {seeded(4), seeded(5)}}), wanted);
  EXPECT_ERROR(device, "sample", scheduler_step(*scheduler, out, x.to(kGpu), jump, {}));
}

TEST("scheduler_step of a learned range, and DDIM's drop of it") {
  SchedulerConfig config;
  config.variance_type = VarianceType::learned_range;
  const auto scheduler = make_scheduler(SchedulerKind::ddpm, config);
  scheduler->set_timesteps(20);
  const auto x = random({2, 3, 16, 16}, 1), out = random({2, 6, 16, 16}, 2), z = random({2, 3, 16, 16}, 3);
  const JumpOptions jump{.timesteps = {500, 0}};
  const auto ddim = scheduler_of({.steps = 20});
  for (const auto* one : {scheduler.get(), ddim.get()}) {
    const auto wanted = scheduler_step(*one, out, x, jump, {.given = z});
    for (const auto format : {at::MemoryFormat::Contiguous, at::MemoryFormat::ChannelsLast}) {
      expect_same_bits(scheduler_step(*one, out.to(kGpu).contiguous(format), x.to(kGpu), jump, {.given = z.to(kGpu)}), wanted);
    }
  }
}

}  // namespace
