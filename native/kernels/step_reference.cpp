#include <ATen/ATen.h>

#include <limits>

#include "kernels/fused_ops.h"

namespace nd {
namespace {

/// A field of every row as a [B, 1, …] column that broadcasts over the samples.
class Columns {
 public:
  Columns(const std::vector<StepRow>& rows, const at::Tensor& like) : rows_(rows), like_(like) {
    shape_.assign(like.dim(), 1);
    shape_[0] = static_cast<int64_t>(rows.size());
  }

  at::Tensor operator()(float StepRow::* field) const {
    auto column = at::empty(shape_, at::kFloat);
    float* out = column.mutable_data_ptr<float>();
    for (size_t i = 0; i < rows_.size(); ++i) out[i] = rows_[i].*field;
    return column.to(like_.device(), like_.scalar_type());
  }

 private:
  const std::vector<StepRow>& rows_;
  const at::Tensor& like_;
  std::vector<int64_t> shape_;
};

at::Tensor learned_std(const StepInputs& in, const Columns& column, at::ScalarType compute) {
  const auto v = in.learned_variance.to(compute);
  if (in.learned == LearnedVariance::direct) return v.sqrt();
  const auto fraction = (v + 1) / 2;
  const auto log_variance =
      fraction * column(&StepRow::log_beta) + (1 - fraction) * column(&StepRow::log_posterior_variance);
  return at::exp(0.5 * log_variance);
}

}  // namespace

at::Tensor unclipped_x0(const std::vector<StepRow>& rows, const at::Tensor& sample, const at::Tensor& model_output) {
  const Columns column(rows, sample);
  return (column(&StepRow::p) * sample + column(&StepRow::q) * model_output) / column(&StepRow::d);
}

at::Tensor dynamic_thresholds(const at::Tensor& x0, const DynamicThreshold& threshold) {
  // At ᾱ_t = 0 x0 is infinite, and the quantile's interpolation would take ∞ − ∞.
  const auto flat = x0.reshape({x0.size(0), -1}).abs().clamp_max(std::numeric_limits<float>::max());
  // By sample: at::quantile refuses more than 16M elements at a time.
  std::vector<at::Tensor> s;
  for (const auto& sample : flat.unbind(0)) s.push_back(at::quantile(sample, threshold.ratio));
  std::vector<int64_t> shape(x0.dim(), 1);
  shape[0] = x0.size(0);
  // min first, then max, as torch.clamp does where they cross.
  return at::stack(s).clamp(1.0, threshold.max).reshape(shape);
}

StepOutputs affine_step_reference(const std::vector<StepRow>& rows, const StepInputs& in) {
  const auto result_dtype = at::promote_types(in.sample.scalar_type(), in.model_output.scalar_type());
  const auto compute = result_dtype == at::kDouble ? at::kDouble : at::kFloat;
  const auto x = in.sample.to(compute);
  const auto out = in.model_output.to(compute);
  const Columns column(rows, x);

  // 1. x0, from the model's prediction
  auto x0 = unclipped_x0(rows, x, out);

  // 2. clip; at::clamp keeps NaN
  if (in.threshold) {
    const auto s = dynamic_thresholds(x0, *in.threshold);
    x0 = at::clamp(x0, -s, s) / s;
  } else if (rows.front().bound != std::numeric_limits<float>::infinity()) {
    const auto bound = column(&StepRow::bound);
    x0 = at::clamp(x0, -bound, bound);
  }

  // 3. x_s without noise
  auto prev = column(&StepRow::c_x0) * x0 + column(&StepRow::c_xt) * x + column(&StepRow::c_out) * out;

  // 4. noise, where there is any
  if (in.noise.defined()) {
    const auto z = in.noise.to(compute);
    const auto sigma = column(&StepRow::sigma);
    const auto std = in.learned == LearnedVariance::none ? sigma : learned_std(in, column, compute);
    prev = at::where(sigma != 0, prev + std * z, prev);
  }
  return {prev.to(result_dtype), in.want_x0 ? x0.to(result_dtype) : at::Tensor()};
}

}  // namespace nd
