#include "core/engine/batch_runner.h"

#include <ATen/ATen.h>
#include <c10/core/InferenceMode.h>

#include <algorithm>
#include <iterator>

#include "core/engine/batch_step.h"
#include "core/engine/draws.h"
#include "core/errors.h"
#include "kernels/cuda_ops.h"

namespace nd {
namespace {

/// Once what was launched is done: kernels on CUDA run behind their launches.
double seconds_since(EngineClock::time_point start, at::Device device) {
  if (device.is_cuda()) cuda::synchronize(device);
  return std::chrono::duration<double>(EngineClock::now() - start).count();
}

}  // namespace

at::Tensor BatchRunner::predict(const std::vector<RunningRequest*>& batch, const std::atomic<bool>& cancelled) const {
  const auto target = denoiser_->target();
  const auto count = static_cast<int64_t>(batch.size()), padded = std::max(count, least_);
  std::vector<at::Tensor> x, labels;
  auto timesteps = at::zeros({padded}, at::kLong);
  auto* t = timesteps.mutable_data_ptr<int64_t>();
  for (const auto* request : batch) {
    x.push_back(request->x);
    *t++ = request->next().timestep;
    if (request->asked.class_label.defined()) labels.push_back(request->asked.class_label);
  }
  if (padded > count) {
    const auto like_one = [&](const at::Tensor& one) {
      auto sizes = one.sizes().vec();
      sizes.front() = padded - count;
      return at::zeros(sizes, one.options());
    };
    x.push_back(like_one(x.front()));
    if (!labels.empty()) labels.push_back(like_one(labels.front()));
  }
  const auto class_labels = labels.empty() ? at::Tensor() : at::cat(labels).to(target.device);
  const auto output = (*denoiser_)(at::cat(x), timesteps.to(target.device), class_labels, cancelled);
  if (output.dim() != 4 || output.size(0) != padded) {
    fail(ErrorCode::shape, "the model must give [", padded, ", C, H, W] for ", padded, " samples, got ", output.sizes());
  }
  return output.narrow(0, 0, count);
}

void BatchRunner::enter_thread() {
  if (!DeviceRunner::serves(*denoiser_)) return;
  try {
    device_ = std::make_unique<DeviceRunner>(*denoiser_, least_);
  } catch (...) {
    // Too little memory, or a device that was lost: the plain way says it to each request.
  }
}

bool BatchRunner::is_prepared(const std::vector<RunningRequest*>& batch) const {
  return device_ && batch.front()->on_device && device_->has_graph(batch);
}

std::optional<StepTime> BatchRunner::run(const std::vector<RunningRequest*>& batch, const std::atomic<bool>& cancelled) {
  const c10::InferenceMode inference;
  const auto target = denoiser_->target();
  std::vector<RunningRequest*> starting, going;
  std::copy_if(batch.begin(), batch.end(), std::back_inserter(starting), [](const auto* one) { return !one->begun(); });
  begin_all(starting);
  std::copy_if(batch.begin(), batch.end(), std::back_inserter(going), [](const auto* one) { return !one->error; });
  if (going.empty()) return std::nullopt;
  if (going.front()->on_device) return device_->run(going);
  const auto start = EngineClock::now();
  const auto output = predict(going, cancelled);
  const auto seconds = seconds_since(start, target.device);
  step_batch(going, output, target);
  return StepTime{key_of(*going.front()), static_cast<int64_t>(going.size()), seconds};
}

void BatchRunner::begin_all(const std::vector<RunningRequest*>& starting) const {
  if (starting.empty()) return;
  const auto target = denoiser_->target();
  if (starting.front()->on_device) return begin_on_device(starting, target);
  const auto cores = target.device.is_cpu() ? Cores::all : Cores::one;
  for_each(starting, cores, [&](RunningRequest& request) { begin(request, target); });
}

BatchKey BatchRunner::key_of(const RunningRequest& request) const {
  return batch_key(request.asked.shape, request.asked.class_label, device_ && !request.on_device);
}

BatchKey BatchRunner::admit(RunningRequest& request) const {
  try {
    auto& label = request.asked.class_label;
    if (device_ && label.defined() && label.is_cuda()) {
      // It goes to the device from the host's memory with each step. The caller's own stream may still be making it.
      cuda::synchronize(label.device());
      label = label.cpu();
    }
    request.on_device = device_ && device_->takes(request.asked);
  } catch (...) {
    request.error = std::current_exception();
  }
  return key_of(request);
}

double BatchRunner::trial(SampleShape shape, int64_t batch, const std::atomic<bool>& cancelled) {
  const c10::InferenceMode inference;
  if (device_) return device_->trial(shape, batch);
  const auto target = denoiser_->target();
  batch = std::max(batch, least_);
  const auto x = at::zeros({batch, shape[0], shape[1], shape[2]}, at::device(target.device).dtype(state_dtype(target)));
  const auto timesteps = at::zeros({batch}, at::device(target.device).dtype(at::kLong));
  const auto labels = denoiser_->trial_labels(batch);
  const auto start = EngineClock::now();
  (*denoiser_)(x, timesteps, labels, cancelled);
  return seconds_since(start, target.device);
}

}  // namespace nd
