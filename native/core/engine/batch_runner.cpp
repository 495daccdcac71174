#include "core/engine/batch_runner.h"

#include <ATen/ATen.h>
#include <ATen/detail/CUDAHooksInterface.h>
#include <c10/core/InferenceMode.h>

#include <algorithm>
#include <iterator>

#include "core/engine/batch_step.h"
#include "core/engine/draws.h"
#include "core/errors.h"

namespace nd {
namespace {

/// Once what was launched is done: kernels on CUDA run behind their launches.
double seconds_since(EngineClock::time_point start, at::Device device) {
  if (device.is_cuda()) at::detail::getCUDAHooks().deviceSynchronize(device.index());
  return std::chrono::duration<double>(EngineClock::now() - start).count();
}

}  // namespace

at::Tensor BatchRunner::predict(const std::vector<RunningRequest*>& batch, const std::atomic<bool>& cancelled) const {
  const auto target = denoiser_->target();
  const auto count = static_cast<int64_t>(batch.size());
  std::vector<at::Tensor> x, labels;
  auto timesteps = at::empty({count}, at::kLong);
  auto* t = timesteps.mutable_data_ptr<int64_t>();
  for (const auto* request : batch) {
    x.push_back(request->x);
    *t++ = request->next().timestep;
    if (request->asked.class_label.defined()) labels.push_back(request->asked.class_label);
  }
  const auto class_labels = labels.empty() ? at::Tensor() : at::cat(labels).to(target.device);
  const auto output = (*denoiser_)(at::cat(x), timesteps.to(target.device), class_labels, cancelled);
  if (output.dim() != 4 || output.size(0) != count) {
    fail(ErrorCode::shape, "the model must give [", count, ", C, H, W] for ", count, " samples, got ", output.sizes());
  }
  return output;
}

double BatchRunner::run(const std::vector<RunningRequest*>& batch, const std::atomic<bool>& cancelled) const {
  const c10::InferenceMode inference;
  const auto target = denoiser_->target();
  std::vector<RunningRequest*> starting, going;
  std::copy_if(batch.begin(), batch.end(), std::back_inserter(starting), [](const auto* one) { return !one->begun(); });
  if (!starting.empty()) for_each(starting, [&](RunningRequest& request) { begin(request, target); });
  std::copy_if(batch.begin(), batch.end(), std::back_inserter(going), [](const auto* one) { return !one->error; });
  if (going.empty()) return 0;

  const auto start = EngineClock::now();
  const auto output = predict(going, cancelled);
  const auto seconds = seconds_since(start, target.device);
  step_batch(going, output, target);
  return seconds;
}

double BatchRunner::trial(SampleShape shape, int64_t batch, const std::atomic<bool>& cancelled) const {
  const c10::InferenceMode inference;
  const auto target = denoiser_->target();
  const auto x = at::zeros({batch, shape[0], shape[1], shape[2]}, at::device(target.device).dtype(state_dtype(target)));
  const auto timesteps = at::zeros({batch}, at::device(target.device).dtype(at::kLong));
  const auto labels = denoiser_->trial_labels(batch);
  const auto start = EngineClock::now();
  (*denoiser_)(x, timesteps, labels, cancelled);
  return seconds_since(start, target.device);
}

}  // namespace nd
