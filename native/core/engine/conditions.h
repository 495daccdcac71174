#pragma once

#include <vector>

#include "core/engine/request.h"

namespace nd {

/// What the model is told beside x_t and t, for a batch of one key: the classes of all, then with guidance the null class of
/// each. Undefined where they have none.
at::Tensor labels_of(const std::vector<RunningRequest*>& batch);

/// s of each, double [B], on the host.
at::Tensor scales_of(const std::vector<RunningRequest*>& batch);

}  // namespace nd
