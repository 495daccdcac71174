#include "core/sampling/guidance.h"

#include <ATen/ATen.h>

#include "core/errors.h"

namespace nd {

at::Tensor guide(const at::Tensor& output, int64_t channels, const at::Tensor& scales) {
  if (output.dim() != 4 || output.size(0) % 2 != 0 || output.size(1) < channels) {
    fail(ErrorCode::shape, "the model must give [2B, ", channels, " or ", 2 * channels, ", H, W] for B samples and B times the ",
         "null class, got ", output.sizes());
  }
  const auto predictions = output.to(at::promote_types(output.scalar_type(), at::kFloat));
  const auto batch = output.size(0) / 2;
  const auto conditional = predictions.narrow(0, 0, batch), unconditional = predictions.narrow(0, batch, batch);
  const auto s = scales.to(predictions.scalar_type()).view({-1, 1, 1, 1});
  const auto combine = [&](const at::Tensor& cond, const at::Tensor& uncond) { return uncond + (cond - uncond) * s; };
  if (output.size(1) != 2 * channels) return combine(conditional, unconditional);
  const auto epsilon = combine(conditional.narrow(1, 0, channels), unconditional.narrow(1, 0, channels));
  return at::cat({epsilon, conditional.narrow(1, channels, channels)}, 1);
}

}  // namespace nd
