#include "core/engine/device_runner.h"

#include <ATen/ATen.h>
#include <ATen/core/LegacyTypeDispatch.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <bit>
#include <utility>

#include "core/engine/conditions.h"
#include "core/engine/device_bucket.h"
#include "core/engine/draws.h"
#include "core/errors.h"
#include "core/out_of_memory.h"
#include "core/sampling/guidance.h"

namespace nd {
namespace {

/// Runs of a bucket before its work is captured: libtorch and cuDNN set things up in them.
constexpr int kWarmUps = 2;
/// Buckets that are kept, of all shapes; each graph holds some MB on the device.
constexpr size_t kMaxBuckets = 64;

/// From here on buckets lie an eighth of a power of two apart: padding is free in a small batch and costs its share in a large
/// one.
constexpr int64_t kLastPower = 16;

/// The kernel reads as far as this says.
void check_output(const at::Tensor& out, int64_t rows, SampleShape shape) {
  const auto [channels, height, width] = shape;
  const bool fits = out.dim() == 4 && out.size(0) == rows && (out.size(1) == channels || out.size(1) == 2 * channels) &&
                    out.size(2) == height && out.size(3) == width;
  if (!fits) {
    fail(ErrorCode::shape, "the model must give [", rows, ", ", channels, " or ", 2 * channels, ", ", height, ", ", width,
         "] for ", rows, " samples, got ", out.sizes());
  }
}

/// A doubled output is for a scheduler that learns its variance or drops it; split_model_output's rule.
void check_split(RunningRequest& request, int64_t out_channels) {
  const auto& scheduler = *request.asked.plan->scheduler;
  if (out_channels == request.asked.shape[0] || scheduler.drops_learned_variance()) return;
  if (scheduler.learned_variance() != LearnedVariance::none) return;
  request.error = std::make_exception_ptr(
      Error(ErrorCode::shape, "modelOutput must have the channels of sample, got " + std::to_string(out_channels)));
}

}  // namespace

DeviceRunner::DeviceRunner(const Denoiser& denoiser, int64_t least)
    : denoiser_(denoiser), target_(denoiser.target()), least_(least),
      stream_(std::make_unique<cuda::OwnStream>(target_.device)), aside_(std::make_unique<cuda::Aside>(target_.device)),
      flight_(std::make_unique<Flight>(target_.device)) {
  cuda::synchronize(target_.device);  // the weights may have been laid out on another stream
}

DeviceRunner::~DeviceRunner() {
  try {
    cuda::synchronize(target_.device);  // its memory goes
  } catch (...) {  // a device that was lost needs no waiting
  }
}

bool DeviceRunner::serves(const Denoiser& denoiser) {
  return cuda::serves(denoiser.target().device, denoiser.target().dtype);
}

bool DeviceRunner::takes(const SampleRequest& request) const {
  const bool served = denoiser_.takes_on_device(request);
  // Thresholds need all of x0 before any of it is clipped; variances given as they are must be looked at first.
  return served && !request.plan->threshold && request.plan->scheduler->learned_variance() != LearnedVariance::direct;
}

int64_t DeviceRunner::bucket_of(int64_t samples) {
  const auto power = static_cast<int64_t>(std::bit_ceil(static_cast<uint64_t>(samples)));
  if (power <= kLastPower) return power;
  const int64_t unit = power / 8;
  return (samples + unit - 1) / unit * unit;
}

/// Of the bucket for so many requests: its rows are a bucket's, all of which but 1 are even.
int64_t DeviceRunner::size_for(const BatchKey& key, int64_t requests) const {
  const int64_t rows = rows_per_request(key);
  return bucket_of(std::max(requests * rows, least_)) / rows;
}

int64_t DeviceRunner::graphs() const {
  return std::count_if(buckets_.begin(), buckets_.end(), [](const auto& entry) { return entry.second->graph != nullptr; });
}

std::pair<BatchKey, int64_t> DeviceRunner::place_of(const std::vector<RunningRequest*>& batch) const {
  const auto& asked = batch.front()->asked;
  const auto key = batch_key(asked.shape, asked.class_label, asked.guided());
  return {key, size_for(key, static_cast<int64_t>(batch.size()))};
}

bool DeviceRunner::has_graph(const std::vector<RunningRequest*>& batch) const {
  const auto found = buckets_.find(place_of(batch));
  return found != buckets_.end() && found->second->graph != nullptr;
}

DeviceRunner::Bucket& DeviceRunner::bucket_for(BatchKey key, int64_t size, const at::Tensor& labels) {
  const auto found = buckets_.find({key, size});
  if (found != buckets_.end()) return *found->second;
  if (buckets_.size() == kMaxBuckets) {
    const auto oldest = std::min_element(buckets_.begin(), buckets_.end(), [](const auto& a, const auto& b) {
      return a.second->last_launch < b.second->last_launch;
    });
    cuda::synchronize(target_.device);  // it may be under way
    buckets_.erase(oldest);
  }
  // Whole before it is kept: there may be too little memory for a part of it.
  auto made = std::make_unique<Bucket>(key, size, target_);
  if (labels.defined()) {
    auto sizes = labels.sizes().vec();
    sizes.front() = made->rows();
    made->labels = at::zeros(sizes, labels.options().device(target_.device));
  }
  return *buckets_.emplace(std::pair{key, size}, std::move(made)).first->second;
}

/// Graphs keep their activations' memory: where too little is left, they go, and it is tried once more.
template <typename Work>
auto DeviceRunner::with_room(const Work& work) {
  const auto attempt = [&] {
    try {
      return work();
    } catch (...) {
      cuda::synchronize(target_.device);  // what was sent may be written again
      throw;
    }
  };
  try {
    return attempt();
  } catch (...) {
    if (!captured_ || !ran_out_of_memory(std::current_exception())) throw;
  }
  buckets_.clear();
  flight_->pool = std::make_unique<cuda::GraphPool>(target_.device);
  captured_ = false;
  cuda::release_unused(target_.device);
  return attempt();
}

std::optional<StepTime> DeviceRunner::run(const std::vector<RunningRequest*>& batch) {
  const auto out_channels = with_room([&] { return send(batch); });
  for (auto* request : batch) {
    request->z.reset();
    if (!request->error) check_split(*request, out_channels);
    if (!request->error) ++request->step;
  }
  return flight_->before().learn();
}

/// Puts the batch's step on the stream, and gives the channels of the model's output. What it throws has moved nobody.
int64_t DeviceRunner::send(const std::vector<RunningRequest*>& batch) {
  const auto labels = labels_of(batch);
  const auto [key, size] = place_of(batch);
  auto& here = bucket_for(key, size, labels);
  draw_noise(here, batch);
  fill(here, batch);
  condition(here, batch, labels);
  launch(here, static_cast<int64_t>(batch.size()));
  return here.out_channels;
}

std::optional<StepTime> DeviceRunner::finish() { return flight_->last().learn(); }

double DeviceRunner::seconds_of(const std::function<void()>& work) {
  return with_room([&] {
    cuda::Mark begin(target_.device), end(target_.device);
    begin.record();
    work();
    end.record();
    end.wait();
    return end.seconds_since(begin);
  });
}

double DeviceRunner::trial(const BatchKey& key, int64_t requests) {
  return with_room([&] { return trial_once(key, requests); });
}

double DeviceRunner::trial_once(const BatchKey& key, int64_t requests) {
  const auto labels = denoiser_.trial_labels(1);
  auto& here = bucket_for(key, size_for(key, requests), labels);
  flight_->last().land();
  fill(here, {});
  launch(here, requests);
  return flight_->last().land()->seconds;
}

void DeviceRunner::draw_noise(Bucket& bucket, const std::vector<RunningRequest*>& batch) {
  std::vector<RunningRequest*> drawing, drawing_on_device;
  for (auto* request : batch) {
    const auto& asked = request->asked;
    // It has some already where its step was tried before, and memory ran out.
    if (!request->next().draws_noise || asked.philox_seed || request->z.defined()) continue;
    const bool on_host = asked.generator.defined() && asked.generator.device().is_cpu();
    (on_host ? drawing : drawing_on_device).push_back(request);
  }
  for_each(drawing_on_device, Cores::one, [&](RunningRequest& request) { request.z = draw_step(request, target_); });
  if (drawing.empty()) return;
  if (!bucket.noise) bucket.noise.emplace(bucket.size, bucket.shape, target_, *aside_);
  bucket.noise->draw(drawing);
}

/// The bucket's steps: those of the batch, then padding.
void DeviceRunner::fill(Bucket& bucket, const std::vector<RunningRequest*>& batch) {
  for (size_t i = 0; i < static_cast<size_t>(bucket.size); ++i) {
    kernels::cuda::DeviceStep step;
    if (i < batch.size() && !batch[i]->error) {
      auto& request = *batch[i];
      const auto& asked = request.asked;
      request.x0 = request.preview_due() ? at::empty_like(request.x) : at::Tensor();
      step.active = true;
      step.row = request.next().row;
      step.learned = asked.plan->scheduler->learned_variance();
      step.timestep = static_cast<int32_t>(request.next().timestep);
      step.x = request.x.mutable_data_ptr<float>();
      step.x0 = request.x0.defined() ? request.x0.mutable_data_ptr<float>() : nullptr;
      step.noise = request.z.defined() ? request.z.const_data_ptr<float>() : nullptr;
      if (request.next().draws_noise && asked.philox_seed) {
        step.draws_philox = true;
        step.seed = *asked.philox_seed;
        step.draw = draw_index(request);
      }
    }
    bucket.steps[static_cast<int64_t>(i)] = step;
  }
}

/// What the model is told beside x_t and t.
void DeviceRunner::condition(Bucket& bucket, const std::vector<RunningRequest*>& batch, const at::Tensor& labels) {
  const auto count = static_cast<int64_t>(batch.size());
  const auto put = [](const at::Tensor& to, const at::Tensor& from) { to.copy_(from.pin_memory(), /*non_blocking=*/true); };
  if (labels.defined()) put(bucket.labels.narrow(0, 0, count), labels.narrow(0, 0, count));
  if (!bucket.guided()) return;
  put(bucket.labels.narrow(0, bucket.size, count), labels.narrow(0, count, count));
  put(bucket.scales.narrow(0, 0, count), scales_of(batch).to(at::kFloat));
}

void DeviceRunner::work(Bucket& bucket) {
  const at::NoGradGuard no_grad;
  const at::AutoDispatchBelowADInplaceOrView below_autograd;
  const auto steps = bucket.steps.on_device();
  const auto samples = bucket.x.narrow(0, 0, bucket.size), timesteps = bucket.timesteps.narrow(0, 0, bucket.size);
  cuda::gather_samples(steps, samples, timesteps);
  if (bucket.guided()) {
    bucket.x.narrow(0, bucket.size, bucket.size).copy_(samples);
    bucket.timesteps.narrow(0, bucket.size, bucket.size).copy_(timesteps);
  }
  auto out = denoiser_.on_device(bucket.x, bucket.timesteps, bucket.labels);
  check_output(out, bucket.rows(), bucket.shape);
  bucket.out_channels = out.size(1);
  if (!cuda::serves(out.device(), out.scalar_type())) out = out.to(at::kFloat);
  if (bucket.guided()) out = guide(out, bucket.shape[0], bucket.scales);
  cuda::fused_step(steps, bucket.shape[0], out);
}

void DeviceRunner::launch(Bucket& bucket, int64_t requests) {
  bucket.last_launch = ++launches_;
  auto& span = flight_->next();
  try {
    bucket.steps.send();
    span.begin.record();
    if (bucket.graph) {
      bucket.graph->replay();
    } else {
      std::optional<cuda::MeasuredAlgorithms> measured;
      if (bucket.can_be_captured) measured.emplace();  // the runs before it is; later ones find what was measured
      work(bucket);
    }
    span.end.record();
  } catch (...) {
    flight_->turn = 1 - flight_->turn;  // the one before is the last still
    throw;
  }
  span.of = StepTime{bucket.key, requests, 0};
  span.sets_up = !bucket.graph && bucket.can_be_captured;
  if (!bucket.graph && bucket.can_be_captured && ++bucket.runs >= kWarmUps) capture(bucket);
}

void DeviceRunner::capture(Bucket& bucket) {
  // Where something in it looks at its numbers, as a TorchScript program may, it goes on as it went.
  bucket.can_be_captured = false;
  captured_ = true;
  const auto failure = cuda::failure_of([&] {
    bucket.graph = std::make_unique<cuda::Graph>(*flight_->pool, target_.device, [&] { work(bucket); });
  });
  if (failure) capture_failure_ = *failure;
}

}  // namespace nd
