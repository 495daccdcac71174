#include "core/engine/draws.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <c10/core/InferenceMode.h>

#include <algorithm>

#include "core/errors.h"
#include "core/sampling/noise_source.h"
#include "core/sampling/scheduler_step.h"
#include "kernels/cuda_ops.h"
#include "kernels/fused_step.h"

namespace nd {
namespace {

/// Where CUDA's kernels serve, without waiting for the device.
at::Tensor on_target(const at::Tensor& z, const ModelTarget& target) {
  const auto dtype = state_dtype(target);
  if (z.is_cpu() && cuda::serves(target.device, target.dtype)) return cuda::send(z.to(dtype), target.device);
  return z.to(target.device, dtype);
}

/// A tensor of the caller's: what it is made of on the device is not of this thread's stream.
at::Tensor copy_of(const at::Tensor& given, const at::TensorOptions& options) {
  const auto wait = [&] {
    if (given.is_cuda()) cuda::synchronize(given.device());
  };
  wait();
  auto copy = given.to(options, /*non_blocking=*/false, /*copy=*/true).contiguous();
  wait();
  return copy;
}

std::vector<int64_t> sizes_of(const SampleRequest& asked) { return {1, asked.shape[0], asked.shape[1], asked.shape[2]}; }

at::Tensor draw(const SampleRequest& asked, uint32_t index, const ModelTarget& target) {
  const auto sizes = sizes_of(asked);
  if (asked.philox_seed) {
    auto z = at::empty(sizes, at::kFloat);
    kernels::philox_normal(z.mutable_data_ptr<float>(), z.numel(), {*asked.philox_seed, index});
    return on_target(z, target);
  }
  const auto given = asked.generator.defined() ? std::vector{asked.generator} : std::vector<at::Generator>{};
  const bool on_host = asked.generator.defined() && asked.generator.device().is_cpu();
  return on_target(randn(sizes, given, at::device(on_host ? at::kCPU : target.device).dtype(target.dtype)), target);
}

/// x_T of torch's numbers, drawn side by side into memory that one copy takes to the device.
void draw_together(const std::vector<RunningRequest*>& requests, const ModelTarget& target) {
  auto sizes = sizes_of(requests.front()->asked);
  sizes.front() = static_cast<int64_t>(requests.size());
  const auto host = at::empty(sizes, at::dtype(at::kFloat).pinned_memory(true));
  draw_rows(requests, host, target.dtype);
  const auto sent = host.to(target.device, /*non_blocking=*/true).split(1);
  std::vector<at::Tensor> x;
  for (const auto& row : sent) x.push_back(at::empty_like(row));
  at::_foreach_copy_(x, sent);  // each has its own memory; a kernel copies many
  for (size_t i = 0; i < requests.size(); ++i) {
    requests[i]->z.reset();
    requests[i]->x = x[i];
  }
}

/// Philox's x_T, by one kernel.
void draw_philox_together(const std::vector<RunningRequest*>& requests, const ModelTarget& target) {
  std::vector<at::Tensor> x;
  std::vector<kernels::cuda::PhiloxDraw> draws;
  for (const auto* request : requests) {
    x.push_back(at::empty(sizes_of(request->asked), at::device(target.device).dtype(at::kFloat)));
    draws.push_back({x.back().mutable_data_ptr<float>(), *request->asked.philox_seed, 0});
  }
  cuda::philox_normal(draws, x.front().numel(), target.device);
  for (size_t i = 0; i < requests.size(); ++i) requests[i]->x = x[i];
}

/// What `work` throws is the error of each.
void together(const std::vector<RunningRequest*>& requests, const std::function<void()>& work) {
  if (requests.empty()) return;
  try {
    work();
  } catch (...) {
    for (auto* request : requests) request->error = std::current_exception();
  }
}

bool share_a_generator(const std::vector<RunningRequest*>& requests) {
  std::vector<const void*> generators;
  for (const auto* request : requests) {
    const auto& asked = request->asked;
    if (asked.philox_seed) continue;
    generators.push_back(asked.generator.defined() ? asked.generator.unsafeGetGeneratorImpl() : nullptr);
  }
  std::sort(generators.begin(), generators.end());
  return std::adjacent_find(generators.begin(), generators.end()) != generators.end();
}

/// Below this many numbers a second thread costs more than it saves.
constexpr int64_t kSerialNumbers = 1 << 13;

/// Whether requests of one shape are better taken one after another.
bool is_serial(const std::vector<RunningRequest*>& requests) {
  if (requests.empty()) return true;
  const auto [channels, height, width] = requests.front()->asked.shape;
  const auto numbers = static_cast<int64_t>(requests.size()) * channels * height * width;
  return numbers < kSerialNumbers || share_a_generator(requests);
}

}  // namespace

at::ScalarType state_dtype(const ModelTarget& target) { return target.dtype == at::kDouble ? at::kDouble : at::kFloat; }

void begin(RunningRequest& request, const ModelTarget& target) {
  const auto& asked = request.asked;
  const auto options = at::device(target.device).dtype(state_dtype(target));
  if (asked.start.defined()) {
    const auto sizes = sizes_of(asked);
    if (asked.start.sizes() != at::IntArrayRef(sizes)) {  // kernels go by the request's shape
      fail(ErrorCode::shape, "latents must have shape ", at::IntArrayRef(sizes), ", got ", asked.start.sizes());
    }
    request.x = copy_of(asked.start, options);
    return;
  }
  const auto z = draw(asked, 0, target);
  request.x = asked.image.defined()
                  ? add_noise(*asked.plan->scheduler, copy_of(asked.image, options), z, {request.next().timestep})
                  : z;
}

void begin_on_device(const std::vector<RunningRequest*>& requests, const ModelTarget& target) {
  const auto begin_one = [&](RunningRequest& request) { begin(request, target); };
  if (share_a_generator(requests)) return for_each(requests, Cores::one, begin_one);  // in their order
  std::vector<RunningRequest*> by_philox, by_torch, others;
  for (auto* request : requests) {
    const auto& asked = request->asked;
    const bool draws = !asked.start.defined() && !asked.image.defined();
    const bool on_host = asked.generator.defined() && asked.generator.device().is_cpu();
    (!draws ? others : asked.philox_seed ? by_philox : on_host ? by_torch : others).push_back(request);
  }
  for_each(others, Cores::one, begin_one);
  together(by_philox, [&] { draw_philox_together(by_philox, target); });
  together(by_torch, [&] { draw_together(by_torch, target); });
}

void draw_rows(const std::vector<RunningRequest*>& requests, const at::Tensor& host, at::ScalarType dtype) {
  for (size_t i = 0; i < requests.size(); ++i) requests[i]->z = host.narrow(0, static_cast<int64_t>(i), 1);
  for_each(requests, Cores::all, [&](RunningRequest& request) {
    request.z.copy_(draw(request.asked, request.begun() ? draw_index(request) : 0, {at::kCPU, dtype}));
  });
}

at::Tensor draw_step(const RunningRequest& request, const ModelTarget& target) {
  return draw(request.asked, draw_index(request), target);
}

void for_each(const std::vector<RunningRequest*>& requests, Cores cores, const std::function<void(RunningRequest&)>& one) {
  const auto count = static_cast<int64_t>(requests.size());
  const int64_t grain = cores == Cores::one || is_serial(requests) ? std::max<int64_t>(count, 1) : 1;
  at::parallel_for(0, count, grain, [&](int64_t first, int64_t end) {
    const c10::InferenceMode inference;
    for (auto i = first; i < end; ++i) {
      auto& request = *requests[i];
      try {
        if (!request.error) one(request);
      } catch (...) {
        request.error = std::current_exception();
      }
    }
  });
}

}  // namespace nd
