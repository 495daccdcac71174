#include "core/engine/batch_step.h"

#include <ATen/ATen.h>

#include "core/engine/draws.h"
#include "core/sampling/scheduler_step.h"
#include "kernels/fused_step.h"

namespace nd {
namespace {

/// Dynamic thresholding needs all of x0 before it can clip any of it: not in one pass.
bool is_fused(const RunningRequest& request) {
  return request.x.is_cpu() && request.x.scalar_type() == at::kFloat && !request.asked.plan->threshold;
}

bool makes_noise_in_registers(const RunningRequest& request) { return request.asked.philox_seed && is_fused(request); }

kernels::SampleStep fused_arguments(const RunningRequest& request, const ModelOutput& output, kernels::PhiloxKey& key) {
  kernels::SampleStep step{};
  step.row = request.next().row;
  step.learned = request.asked.plan->scheduler->learned_variance();
  step.x = request.x.const_data_ptr<float>();
  step.out = output.prediction.const_data_ptr<float>();
  step.variance = output.variance.defined() ? output.variance.const_data_ptr<float>() : nullptr;
  step.noise = request.z.defined() ? request.z.const_data_ptr<float>() : nullptr;
  if (request.next().draws_noise && makes_noise_in_registers(request)) {
    key = {*request.asked.philox_seed, draw_index(request)};
    step.philox = &key;
  }
  step.prev = request.x.mutable_data_ptr<float>();
  step.x0 = request.x0.defined() ? request.x0.mutable_data_ptr<float>() : nullptr;
  return step;
}

void step_alone(RunningRequest& request, const ModelOutput& output) {
  StepInputs in;
  in.sample = request.x;
  in.model_output = output.prediction;
  in.learned_variance = output.variance;
  in.learned = request.asked.plan->scheduler->learned_variance();
  in.noise = request.z;
  in.threshold = request.asked.plan->threshold;
  in.want_x0 = request.x0.defined();
  const auto stepped = affine_step({request.next().row}, in);
  request.x.copy_(stepped.prev_sample);
  if (request.x0.defined()) request.x0.copy_(stepped.pred_original_sample);
}

void draw_noise(const std::vector<RunningRequest*>& batch, const ModelTarget& target) {
  std::vector<RunningRequest*> drawing;
  for (auto* request : batch) {
    // It has some already where its step was tried before, and memory ran out.
    if (request->next().draws_noise && !request->z.defined() && !makes_noise_in_registers(*request)) drawing.push_back(request);
  }
  if (drawing.empty()) return;
  const auto cores = target.device.is_cpu() ? Cores::all : Cores::one;
  for_each(drawing, cores, [&](RunningRequest& request) { request.z = draw_step(request, target); });
}

}  // namespace

void step_batch(const std::vector<RunningRequest*>& batch, const at::Tensor& output, const ModelTarget& target) {
  draw_noise(batch, target);
  const auto rows = output.to(batch.front()->x.scalar_type()).contiguous();
  std::vector<kernels::PhiloxKey> keys(batch.size());
  std::vector<kernels::SampleStep> fused;
  for (size_t i = 0; i < batch.size(); ++i) {
    auto& request = *batch[i];
    if (request.error) continue;
    try {
      const auto own = split_model_output(*request.asked.plan->scheduler, rows.narrow(0, static_cast<int64_t>(i), 1), request.x);
      request.x0 = request.preview_due() ? at::empty_like(request.x) : at::Tensor();
      if (is_fused(request)) {
        fused.push_back(fused_arguments(request, own, keys[i]));
      } else {
        step_alone(request, own);
      }
    } catch (...) {
      request.error = std::current_exception();
    }
  }
  if (!fused.empty()) kernels::fused_step(fused.data(), static_cast<int64_t>(fused.size()), batch.front()->x.numel());
  for (auto* request : batch) {
    request->z.reset();
    if (!request->error) ++request->step;
  }
}

}  // namespace nd
