#include "core/engine/outputs.h"

#include <ATen/ATen.h>
#include <c10/core/InferenceMode.h>

#include <exception>

#include "core/sampling/pixels.h"

namespace nd {

at::Tensor output_of(const at::Tensor& x, SampleOutput output) {
  const c10::InferenceMode inference;
  if (output == SampleOutput::latent) return x.squeeze(0).to(at::kCPU, at::kFloat, /*non_blocking=*/false, /*copy=*/true);
  return to_pixels(x, output == SampleOutput::uint8 ? PixelFormat::uint8 : PixelFormat::unit_float).squeeze(0);
}

Outputs::Outputs(const std::vector<RunningRequest*>& done) {
  const c10::InferenceMode inference;
  std::vector<at::Tensor> x;
  for (const auto* request : done) {
    owners_.push_back({request->id, request->asked.output});
    x.push_back(request->x);
  }
  const auto all = at::cat(x);
  host_ = at::empty(all.sizes(), at::dtype(all.scalar_type()).pinned_memory(true));
  host_.copy_(all, /*non_blocking=*/true);
  copied_ = std::make_unique<cuda::Mark>(all.device());
  copied_->record();
}

void Outputs::land(const std::function<void(uint64_t, const at::Tensor&, const std::exception_ptr&)>& each) const {
  const auto error_of = [](const auto& work) -> std::exception_ptr {
    try {
      work();
      return nullptr;
    } catch (...) {
      return std::current_exception();
    }
  };
  const auto lost = error_of([&] { copied_->wait(); });
  for (size_t i = 0; i < owners_.size(); ++i) {
    at::Tensor output;
    const auto take = [&] { output = output_of(host_.narrow(0, static_cast<int64_t>(i), 1), owners_[i].output); };
    const auto error = lost ? lost : error_of(take);
    each(owners_[i].id, output, error);
  }
}

}  // namespace nd
