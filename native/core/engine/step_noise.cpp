#include "core/engine/step_noise.h"

#include <ATen/ATen.h>

#include "core/engine/draws.h"

namespace nd {

StepNoise::StepNoise(int64_t size, SampleShape shape, const ModelTarget& target, cuda::Aside& aside)
    : dtype_(target.dtype), aside_(aside) {
  const std::vector<int64_t> sizes{size, shape[0], shape[1], shape[2]};
  for (auto& turn : turns_) {
    turn.host = at::empty(sizes, at::dtype(at::kFloat).pinned_memory(true));
    turn.device = at::empty(sizes, at::dtype(at::kFloat).device(target.device));
  }
  aside_.follow();
}

void StepNoise::draw(const std::vector<RunningRequest*>& requests) {
  const auto& [host, device] = turns_[turn_ = 1 - turn_];
  draw_rows(requests, host, dtype_);
  const auto count = static_cast<int64_t>(requests.size());
  aside_.copy(device.narrow(0, 0, count), host.narrow(0, 0, count));
  aside_.join();
  for (size_t i = 0; i < requests.size(); ++i) requests[i]->z = device.narrow(0, static_cast<int64_t>(i), 1);
}

}  // namespace nd
