#pragma once

#include <vector>

#include "core/engine/denoiser.h"
#include "core/engine/request.h"

namespace nd {

/// Takes a batch of requests, each at its own timestep, one step further.
class BatchRunner {
 public:
  explicit BatchRunner(std::unique_ptr<const Denoiser> denoiser) : denoiser_(std::move(denoiser)) {}

  /// One step of requests of one shape. What is wrong with one alone is left in its `error`, and the others go on; what
  /// fails the model's forward is thrown, and nobody has moved. Gives the seconds that the forward took.
  double run(const std::vector<RunningRequest*>& batch, const std::atomic<bool>& cancelled) const;

  /// What requests of this shape with the labels that the model wants have in common.
  BatchKey trial_key(SampleShape shape) const { return batch_key(shape, denoiser_->trial_labels(1)); }

  /// A forward of zeros, to measure it: seconds.
  double trial(SampleShape shape, int64_t batch, const std::atomic<bool>& cancelled) const;

 private:
  at::Tensor predict(const std::vector<RunningRequest*>& batch, const std::atomic<bool>& cancelled) const;

  std::unique_ptr<const Denoiser> denoiser_;
};

}  // namespace nd
