#include "core/engine/step_noise.h"

#include <ATen/ATen.h>

#include "core/engine/draws.h"

namespace nd {

StepNoise::StepNoise(int64_t size, SampleShape shape, at::Device device, cuda::Aside& aside) {
  const std::vector<int64_t> sizes{size, shape[0], shape[1], shape[2]};
  for (auto& turn : turns_) {
    turn.host = at::empty(sizes, at::dtype(at::kFloat).pinned_memory(true));
    turn.device = at::empty(sizes, at::dtype(at::kFloat).device(device));
  }
  aside.follow();
}

void StepNoise::draw(const std::vector<RunningRequest*>& requests, at::ScalarType dtype, cuda::Aside& aside) {
  const auto& [host, device] = turns_[turn_ = 1 - turn_];
  draw_rows(requests, host, dtype);
  const auto count = static_cast<int64_t>(requests.size());
  aside.copy(device.narrow(0, 0, count), host.narrow(0, 0, count));
  aside.join();
  for (size_t i = 0; i < requests.size(); ++i) requests[i]->z = device.narrow(0, static_cast<int64_t>(i), 1);
}

}  // namespace nd
