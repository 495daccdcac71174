#include "core/engine/conditions.h"

#include <ATen/ATen.h>

namespace nd {

at::Tensor labels_of(const std::vector<RunningRequest*>& batch) {
  std::vector<at::Tensor> labels;
  for (const auto label : {&SampleRequest::class_label, &SampleRequest::null_label}) {
    for (const auto* request : batch) {
      if ((request->asked.*label).defined()) labels.push_back(request->asked.*label);
    }
  }
  return labels.empty() ? at::Tensor() : at::cat(labels);
}

at::Tensor scales_of(const std::vector<RunningRequest*>& batch) {
  auto scales = at::empty({static_cast<int64_t>(batch.size())}, at::kDouble);
  auto* s = scales.mutable_data_ptr<double>();
  for (const auto* request : batch) *s++ = request->asked.guidance_scale;
  return scales;
}

}  // namespace nd
