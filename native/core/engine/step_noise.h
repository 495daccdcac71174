#pragma once

#include <ATen/core/Tensor.h>

#include <array>
#include <vector>

#include "core/engine/request.h"
#include "kernels/cuda_ops.h"

namespace nd {

/// Torch's numbers for the steps of up to `size` requests. While the device has a step, the next one's are drawn and copied: there
/// is memory for two, which take turns.
class StepNoise {
 public:
  StepNoise(int64_t size, SampleShape shape, at::Device device, cuda::Aside& aside);
  /// Gives each request its z, which the device has when this thread's stream comes to what follows. The step before the last
  /// must be done.
  void draw(const std::vector<RunningRequest*>& requests, at::ScalarType dtype, cuda::Aside& aside);

 private:
  struct Turn {
    at::Tensor host, device;
  };
  std::array<Turn, 2> turns_;
  size_t turn_ = 0;
};

}  // namespace nd
