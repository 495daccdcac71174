#include "core/engine/batch_runner.h"

#include <ATen/ATen.h>
#include <c10/core/InferenceMode.h>

#include <algorithm>
#include <iterator>

#include "core/engine/batch_step.h"
#include "core/engine/conditions.h"
#include "core/engine/draws.h"
#include "core/errors.h"
#include "core/sampling/guidance.h"
#include "kernels/cuda_ops.h"

namespace nd {

at::Tensor BatchRunner::predict(const std::vector<RunningRequest*>& batch, const std::atomic<bool>& cancelled) const {
  const auto target = denoiser_->target();
  const bool guided = batch.front()->asked.guided();
  const auto rows = static_cast<int64_t>(batch.size()) * (guided ? 2 : 1), padded = std::max(rows, least_);
  std::vector<at::Tensor> x;
  auto timesteps = at::zeros({padded}, at::kLong);
  auto* t = timesteps.mutable_data_ptr<int64_t>();
  for (int64_t row = 0; row < rows; ++row) {
    const auto& request = *batch[static_cast<size_t>(row) % batch.size()];
    x.push_back(request.x);
    t[row] = request.next().timestep;
  }
  auto labels = labels_of(batch);
  if (padded > rows) {
    const auto padding = [&](const at::Tensor& like) {
      auto sizes = like.sizes().vec();
      sizes.front() = padded - rows;
      return at::zeros(sizes, like.options());
    };
    x.push_back(padding(x.front()));
    if (labels.defined()) labels = at::cat({labels, padding(labels)});
  }
  if (labels.defined()) labels = labels.to(target.device);
  const auto output = (*denoiser_)(at::cat(x), timesteps.to(target.device), labels, cancelled);
  if (output.dim() != 4 || output.size(0) != padded) {
    fail(ErrorCode::shape, "the model must give [", padded, ", C, H, W] for ", padded, " samples, got ", output.sizes());
  }
  const auto predictions = output.narrow(0, 0, rows);
  return guided ? guide(predictions, batch.front()->asked.shape[0], scales_of(batch).to(target.device)) : predictions;
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

bool BatchRunner::wants_threads(const std::vector<RunningRequest*>& batch) const {
  return !is_prepared(batch) || std::any_of(batch.begin(), batch.end(), [](const auto* request) {
    return !request->asked.philox_seed && (!request->begun() || request->next().draws_noise);
  });
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
  at::Tensor output;
  const auto seconds = seconds_of([&] { output = predict(going, cancelled); });
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
  const auto& asked = request.asked;
  return batch_key(asked.shape, asked.class_label, asked.guided(), device_ && !request.on_device);
}

BatchKey BatchRunner::admit(RunningRequest& request) const {
  try {
    for (auto* label : {&request.asked.class_label, &request.asked.null_label}) {
      if (!label->defined() || !label->is_cuda()) continue;
      // It goes to the model's device from the host's memory with each step. The caller's own stream may still be making it.
      cuda::synchronize(label->device());
      *label = label->cpu();
    }
    request.on_device = device_ && device_->takes(request.asked);
  } catch (...) {
    request.error = std::current_exception();
  }
  return key_of(request);
}

double BatchRunner::trial(const BatchKey& key, int64_t requests, const std::atomic<bool>& cancelled) {
  const c10::InferenceMode inference;
  if (device_) return device_->trial(key, requests);
  const auto target = denoiser_->target();
  const auto batch = std::max(requests * rows_per_request(key), least_);
  const auto x = at::zeros({batch, key[0], key[1], key[2]}, at::device(target.device).dtype(state_dtype(target)));
  const auto timesteps = at::zeros({batch}, at::device(target.device).dtype(at::kLong));
  auto labels = denoiser_->trial_labels(batch);
  if (labels.defined()) labels = labels.to(target.device);
  return seconds_of([&] { (*denoiser_)(x, timesteps, labels, cancelled); });
}

double BatchRunner::seconds_of(const std::function<void()>& forward) const {
  if (device_) return device_->seconds_of(forward);
  const auto device = denoiser_->target().device;
  const auto start = EngineClock::now();
  forward();
  if (device.is_cuda()) cuda::synchronize(device);  // kernels run behind their launches
  return std::chrono::duration<double>(EngineClock::now() - start).count();
}

}  // namespace nd
