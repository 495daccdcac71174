#include <ATen/ATen.h>

#include "kernels/cuda_ops.h"
#include "kernels/fused_ops.h"
#include "kernels/fused_step.h"

namespace nd {
namespace {

bool is_fusable(const StepInputs& in) {
  const auto dtype = in.model_output.scalar_type();
  return in.sample.is_cpu() && in.sample.scalar_type() == at::kFloat &&
         (dtype == at::kFloat || dtype == at::kBFloat16 || dtype == at::kHalf);
}

/// Whether each sample's numbers lie side by side, as those of a half of the channels do while the batch's don't.
bool has_dense_samples(const at::Tensor& tensor) {
  int64_t stride = 1;
  for (int64_t i = tensor.dim() - 1; i > 0; --i) {
    if (tensor.size(i) != 1 && tensor.stride(i) != stride) return false;
    stride *= tensor.size(i);
  }
  return true;
}

/// Float32 samples of a tensor or of none, copied where they must be.
class Samples {
 public:
  explicit Samples(const at::Tensor& tensor) {
    if (!tensor.defined()) return;
    dense_ = tensor.to(at::kFloat).resolve_neg();
    if (!has_dense_samples(dense_)) dense_ = dense_.contiguous();
    first_ = dense_.const_data_ptr<float>();
    stride_ = dense_.stride(0);
  }
  const float* operator[](size_t i) const {
    return first_ == nullptr ? nullptr : first_ + static_cast<int64_t>(i) * stride_;
  }

 private:
  at::Tensor dense_;
  const float* first_ = nullptr;
  int64_t stride_ = 0;
};

/// Whether CUDA's fused kernel does it: float32 samples [B, C, H, W]; a learned variance only as the second half of the same
/// output. Thresholds need all of x0 first, variances given as they are must be looked at.
bool is_fusable_on_cuda(const StepInputs& in) {
  const auto& out = in.model_output;
  if (!cuda::serves(in.sample.device(), out.scalar_type()) || in.sample.scalar_type() != at::kFloat || in.sample.dim() != 4) {
    return false;
  }
  if (in.threshold || in.learned == LearnedVariance::direct) return false;
  if (in.learned == LearnedVariance::none) return true;
  return out.stride(2) == out.size(3) * out.stride(3) &&
         in.learned_variance.const_data_ptr() ==
             static_cast<const char*>(out.const_data_ptr()) + out.size(1) * out.stride(1) * out.element_size();
}

/// The kernel works in place, so on a copy.
StepOutputs affine_step_on_cuda(const std::vector<StepRow>& rows, const StepInputs& in) {
  const StepOutputs result{in.sample.clone(at::MemoryFormat::Contiguous),
                           in.want_x0 ? at::empty(in.sample.sizes(), in.sample.options()) : at::Tensor()};
  const auto noise = in.noise.defined() ? in.noise.to(at::kFloat).contiguous() : at::Tensor();
  const int64_t batch = in.sample.size(0), numel = in.sample.numel() / batch;
  const auto at_sample = [numel](const at::Tensor& tensor, int64_t i) {
    return tensor.defined() ? tensor.data_ptr<float>() + i * numel : nullptr;
  };
  cuda::StepBuffer steps(batch, in.sample.device());
  for (int64_t i = 0; i < batch; ++i) {
    kernels::cuda::DeviceStep step;
    step.row = rows.size() == 1 ? rows.front() : rows[static_cast<size_t>(i)];
    step.learned = in.learned;
    step.active = true;
    step.x = at_sample(result.prev_sample, i);
    step.noise = at_sample(noise, i);
    step.x0 = at_sample(result.pred_original_sample, i);
    steps[i] = step;
  }
  steps.send();
  cuda::fused_step(steps.on_device(), in.sample.size(1), in.model_output);
  return result;
}

}  // namespace

StepOutputs affine_step(const std::vector<StepRow>& rows, const StepInputs& in) {
  if (is_fusable_on_cuda(in)) return affine_step_on_cuda(rows, in);
  if (!is_fusable(in)) return affine_step_reference(rows, in);
  const Samples x(in.sample), out(in.model_output), noise(in.noise), variance(in.learned_variance);
  at::Tensor thresholds;
  if (in.threshold) {
    thresholds = dynamic_thresholds(unclipped_x0(rows, in.sample, in.model_output.to(at::kFloat)), *in.threshold);
  }
  const auto options = in.sample.options();
  const StepOutputs result{at::empty(in.sample.sizes(), options),
                           in.want_x0 ? at::empty(in.sample.sizes(), options) : at::Tensor()};
  const int64_t numel = in.sample.numel() / in.sample.size(0);
  float* prev = result.prev_sample.mutable_data_ptr<float>();
  float* x0 = in.want_x0 ? result.pred_original_sample.mutable_data_ptr<float>() : nullptr;

  std::vector<kernels::SampleStep> samples(static_cast<size_t>(in.sample.size(0)));
  for (size_t i = 0; i < samples.size(); ++i) {
    auto& sample = samples[i];
    sample.row = rows.size() == 1 ? rows.front() : rows[i];
    if (in.threshold) sample.row.bound = sample.k = thresholds.const_data_ptr<float>()[i];
    sample.learned = in.learned;
    sample.x = x[i], sample.out = out[i], sample.noise = noise[i], sample.variance = variance[i];
    sample.prev = prev + static_cast<int64_t>(i) * numel;
    sample.x0 = x0 == nullptr ? nullptr : x0 + static_cast<int64_t>(i) * numel;
  }
  kernels::fused_step(samples.data(), static_cast<int64_t>(samples.size()), numel);
  return result;
}

}  // namespace nd
