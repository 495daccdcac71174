#pragma once

#include <ATen/core/Tensor.h>

#include <array>
#include <vector>

#include "core/engine/request.h"
#include "core/unet/unet2d_model.h"
#include "kernels/cuda_ops.h"

namespace nd {

/// Torch's numbers for the steps of up to `size` requests. While the device has a step, the next one's are drawn and copied:
/// there is memory for two, which take turns.
class StepNoise {
 public:
  StepNoise(int64_t size, SampleShape shape, const ModelTarget& target, cuda::Aside& aside);
  /// Gives each request its z, which the device has when this thread's stream comes to what follows. The step before the last
  /// must be done.
  void draw(const std::vector<RunningRequest*>& requests);

 private:
  struct Turn {
    at::Tensor host, device;
  };
  const at::ScalarType dtype_;
  cuda::Aside& aside_;
  std::array<Turn, 2> turns_;
  size_t turn_ = 0;
};

}  // namespace nd
