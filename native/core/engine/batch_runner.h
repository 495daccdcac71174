#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "core/engine/denoiser.h"
#include "core/engine/device_runner.h"
#include "core/engine/request.h"

namespace nd {

/// Takes a batch of requests, each at its own timestep, one step further.
class BatchRunner {
 public:
  /// Every batch is filled up to `least` samples.
  explicit BatchRunner(std::unique_ptr<const Denoiser> denoiser, int64_t least = 1)
      : denoiser_(std::move(denoiser)), least_(least) {}

  /// On the thread that is to call the rest, before it does, and once it will no more.
  void enter_thread();
  void leave_thread() { device_.reset(); }

  /// Decides how a request is run, before its first batch: those of one key can share one. What is wrong with it is left in
  /// its `error`.
  BatchKey admit(RunningRequest& request) const;

  /// Whether a step of theirs takes no longer than the model does: nothing is left to be set up for it.
  bool is_prepared(const std::vector<RunningRequest*>& batch) const;
  /// Whether it has work for several threads of the host: all but what a device does alone.
  bool wants_threads(const std::vector<RunningRequest*>& batch) const;

  /// One step of requests of one key. What is wrong with one alone is left in its `error`, and the others go on; what
  /// fails the model's forward is thrown, and nobody has moved. Gives what a forward took: this one's on the CPU, that of
  /// the call before on CUDA, where this one is still under way.
  std::optional<StepTime> run(const std::vector<RunningRequest*>& batch, const std::atomic<bool>& cancelled);

  /// Waits for what is still under way, and gives what it took.
  std::optional<StepTime> finish() { return device_ ? device_->finish() : std::nullopt; }

  /// What requests of this shape with the labels that the model wants have in common.
  BatchKey trial_key(SampleShape shape, bool guided) const { return batch_key(shape, denoiser_->trial_labels(1), guided); }

  /// A forward of zeros for so many requests, to measure it: seconds.
  double trial(const BatchKey& key, int64_t requests, const std::atomic<bool>& cancelled);

 private:
  void begin_all(const std::vector<RunningRequest*>& starting) const;
  BatchKey key_of(const RunningRequest& request) const;
  double seconds_of(const std::function<void()>& forward) const;
  at::Tensor predict(const std::vector<RunningRequest*>& batch, const std::atomic<bool>& cancelled) const;

  std::unique_ptr<const Denoiser> denoiser_;
  int64_t least_;
  std::unique_ptr<DeviceRunner> device_;  // on CUDA
};

}  // namespace nd
