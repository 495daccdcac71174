#include "core/sampling/scheduler_step.h"

#include <ATen/ATen.h>

#include "core/errors.h"
#include "core/schedulers/step_coefficients.h"

namespace nd {
namespace {

void check_floating(const at::Tensor& tensor, const char* name) {
  if (!tensor.is_floating_point()) {
    fail(ErrorCode::dtype, name, " must have a floating-point dtype, got ", c10::toString(tensor.scalar_type()));
  }
}

void check_same_device(const at::Tensor& a, const char* a_name, const at::Tensor& b, const char* b_name) {
  if (a.device() != b.device()) {
    fail(ErrorCode::device, a_name, " must be on the device of ", b_name, " (", b.device().str(), "), got ", a.device().str());
  }
}

void check_same_shape(const at::Tensor& a, const char* a_name, const at::Tensor& b, const char* b_name) {
  if (a.sizes() != b.sizes()) fail(ErrorCode::shape, a_name, " must have the shape of ", b_name, " ", b.sizes(), ", got ", a.sizes());
}

void check_batched(const at::Tensor& tensor, const char* name) {
  check_floating(tensor, name);
  if (tensor.dim() < 1 || tensor.size(0) < 1) {
    fail(ErrorCode::shape, name, " must be a batch [B, …] with B ≥ 1, got ", tensor.sizes());
  }
}

bool is_doubled(const at::Tensor& output, const at::Tensor& sample) {
  if (output.dim() != sample.dim() || sample.dim() < 2) return false;
  auto doubled = sample.sizes().vec();
  doubled[1] *= 2;
  return output.sizes() == at::IntArrayRef(doubled);
}

std::vector<bool> which_draw(const NoiseScheduler& scheduler, const JumpOptions& jump, int64_t batch) {
  std::vector<bool> wanted(batch);
  for (int64_t i = 0; i < batch; ++i) {
    const auto t = jump.timesteps[jump.timesteps.size() == 1 ? 0 : i];
    const auto eta = jump.eta[jump.eta.size() == 1 ? 0 : i];
    wanted[i] = scheduler.draws_noise(t, eta);
  }
  return wanted;
}

/// f(ᾱ_t) of each timestep as a [B or 1, 1, …] column; ᾱ is rounded to the sample's dtype first, as diffusers does.
at::Tensor alpha_column(const NoiseScheduler& scheduler, const std::vector<int64_t>& timesteps, const at::Tensor& like) {
  std::vector<float> alphas;
  for (auto t : timesteps) {
    scheduler.check_timestep(t, "timesteps");
    alphas.push_back(scheduler.alpha(t));
  }
  if (alphas.size() != 1 && static_cast<int64_t>(alphas.size()) != like.size(0)) {
    fail(ErrorCode::argument, "timesteps must be one value or one per sample (", like.size(0), "), got ", alphas.size());
  }
  std::vector<int64_t> shape(like.dim(), 1);
  shape[0] = static_cast<int64_t>(alphas.size());
  return at::tensor(alphas, at::kFloat).reshape(shape).to(like.device(), like.scalar_type());
}

void check_pair(const at::Tensor& a, const char* a_name, const at::Tensor& b, const char* b_name) {
  check_batched(a, a_name);
  check_floating(b, b_name);
  check_same_device(b, b_name, a, a_name);
  check_same_shape(b, b_name, a, a_name);
}

}  // namespace

ModelOutput split_model_output(const NoiseScheduler& scheduler, const at::Tensor& output, const at::Tensor& sample) {
  const bool doubled = is_doubled(output, sample);
  const auto learned = scheduler.learned_variance();
  if (learned != LearnedVariance::none && !doubled) {
    fail(ErrorCode::shape, "modelOutput must have twice the channels of sample ", sample.sizes(),
         " for a learned varianceType, got ", output.sizes());
  }
  if (!doubled || (learned == LearnedVariance::none && !scheduler.drops_learned_variance())) {
    check_same_shape(output, "modelOutput", sample, "sample");
    return {output, {}};
  }
  const auto channels = sample.size(1);
  ModelOutput split{output.narrow(1, 0, channels), {}};
  if (learned != LearnedVariance::none) split.variance = output.narrow(1, channels, channels);
  if (learned == LearnedVariance::direct && !at::all(split.variance.ge(0)).item<bool>()) {
    fail(ErrorCode::argument, "modelOutput's second half must be non-negative variances for varianceType 'learned'");
  }
  return split;
}

StepOutputs scheduler_step(const NoiseScheduler& scheduler, const at::Tensor& model_output, const at::Tensor& sample,
                           const JumpOptions& jump, const NoiseSource& noise, bool want_x0) {
  check_batched(sample, "sample");
  check_floating(model_output, "modelOutput");
  check_same_device(model_output, "modelOutput", sample, "sample");
  const auto batch = sample.size(0);

  StepInputs in;
  in.sample = sample;
  in.learned = scheduler.learned_variance();
  in.want_x0 = want_x0;
  const auto output = split_model_output(scheduler, model_output, sample);
  in.model_output = output.prediction;
  in.learned_variance = output.variance;
  const auto rows = scheduler.rows(jump, batch);
  if (noise.given.defined()) {
    if (!noise.generators.empty()) fail(ErrorCode::argument, "generator and varianceNoise must not both be given");
    check_floating(noise.given, "varianceNoise");
    check_same_device(noise.given, "varianceNoise", sample, "sample");
    check_same_shape(noise.given, "varianceNoise", sample, "sample");
  }
  const auto& config = scheduler.config();
  if (config.thresholding) in.threshold = {config.dynamic_thresholding_ratio, config.sample_max_value};
  // The noise has the model's dtype, as in diffusers: a half model's numbers are those of a half randn.
  in.noise = draw_step_noise(noise, which_draw(scheduler, jump, batch), sample.sizes(), model_output.options());
  return affine_step(rows, in);
}

at::Tensor add_noise(const NoiseScheduler& scheduler, const at::Tensor& original, const at::Tensor& noise,
                     const std::vector<int64_t>& timesteps) {
  check_pair(original, "originalSamples", noise, "noise");
  const auto alpha = alpha_column(scheduler, timesteps, original);
  return alpha.sqrt() * original + (1 - alpha).sqrt() * noise;
}

at::Tensor get_velocity(const NoiseScheduler& scheduler, const at::Tensor& sample, const at::Tensor& noise,
                        const std::vector<int64_t>& timesteps) {
  check_pair(sample, "sample", noise, "noise");
  const auto alpha = alpha_column(scheduler, timesteps, sample);
  return alpha.sqrt() * noise - (1 - alpha).sqrt() * sample;
}

PosteriorResult posterior(const NoiseScheduler& scheduler, const at::Tensor& sample, const at::Tensor& original,
                          const std::vector<int64_t>& timesteps, const std::vector<int64_t>& prev_timesteps) {
  check_pair(sample, "sample", original, "originalSample");
  const auto jumps = scheduler.posteriors(timesteps, prev_timesteps, sample.size(0));
  // The mean is a step whose model output is x_0 itself, unclipped and without noise.
  std::vector<StepRow> rows;
  PosteriorResult result;
  for (const auto& jump : jumps) {
    StepRow row;
    row.q = 1;
    row.c_x0 = jump.c_x0;
    row.c_xt = jump.c_xt;
    rows.push_back(row);
    result.variance.push_back(jump.variance);
  }
  StepInputs in;
  in.sample = sample;
  in.model_output = original;
  in.want_x0 = false;
  result.mean = affine_step(rows, in).prev_sample;
  return result;
}

}  // namespace nd
