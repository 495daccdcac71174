#include "core/unet/measured_way.h"

#include <c10/util/Exception.h>

#include "kernels/cuda_ops.h"

namespace nd {

bool MeasuredWay::second_is_faster(const at::Tensor& x, const std::function<void()>& first,
                                   const std::function<bool()>& second) {
  const Size size{x.size(0), x.size(2), x.size(3)};
  const std::lock_guard lock(mutex_);
  const auto found = known_.find(size);
  if (found != known_.end()) return found->second;
  if (!cuda::measures_algorithms()) return false;
  try {
    const bool faster = second() && cuda::best_seconds(x.device(), [&] { second(); }) < cuda::best_seconds(x.device(), first);
    known_.emplace(size, faster);
    return faster;
  } catch (const c10::OutOfMemoryError&) {
    return false;  // the second may take more memory; there may be enough the next time
  }
}

}  // namespace nd
