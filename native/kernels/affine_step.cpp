#include <ATen/ATen.h>

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

}  // namespace

StepOutputs affine_step(const std::vector<StepRow>& rows, const StepInputs& in) {
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
