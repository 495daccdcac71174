#pragma once

#include <vector>

#include "core/engine/request.h"
#include "core/unet/unet2d_model.h"

namespace nd {

/// Takes requests of one shape from their x_t to x_s, in place, by the model's output [B, C or 2C, H, W]; one kernel for all
/// of them on the CPU. What is wrong with one alone is left in its `error`.
void step_batch(const std::vector<RunningRequest*>& batch, const at::Tensor& output, const ModelTarget& target);

}  // namespace nd
