#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "core/engine/denoiser.h"
#include "core/engine/request.h"
#include "kernels/cuda_ops.h"

namespace nd {

/// Steps on CUDA. Of a batch of one shape, everything between two x_t is one piece of work on a stream of its own: the
/// samples are gathered from where each request keeps its x_t, the model runs, the fused step writes x_s back. Batches are
/// filled up to a bucket's size; each bucket's work is captured in a graph once it has run often enough for libtorch and
/// cuDNN to have chosen their ways.
class DeviceRunner {
 public:
  /// Every batch is filled up to `least` samples, and its bucket.
  explicit DeviceRunner(const Denoiser& denoiser, int64_t least = 1);
  ~DeviceRunner();

  /// Whether this denoiser's target has our kernels.
  static bool serves(const Denoiser& denoiser);
  /// Whether a request's steps are the fused kernel's and the model serves it here; a batch with another goes the plain way.
  /// Throws for what the model refuses.
  bool takes(const SampleRequest& request) const;
  /// The batch that is run for `samples`: 1, 2, 4, 8, 16, then in eighths of the power of two above.
  static int64_t bucket_of(int64_t samples);

  /// Takes the batch one step further: the work is put on the stream, and it waits for that of the call before, so the device
  /// always has some. Gives what the call before took on the device, if there was one. Throws what the model throws; nobody
  /// has moved then.
  std::optional<StepTime> run(const std::vector<RunningRequest*>& batch);
  /// Waits for the work of the last call, and gives what it took.
  std::optional<StepTime> finish();
  /// What `work`, that goes to this thread's stream, takes on the device; waits for it. It may be called twice.
  double seconds_of(const std::function<void()>& work);
  /// Seconds of a step of nothing but padding.
  double trial(const BatchKey& key, int64_t requests);

  /// Whether this batch's work is one.
  bool has_graph(const std::vector<RunningRequest*>& batch) const;
  /// Buckets whose work is a graph.
  int64_t graphs() const;
  /// Why the last one that is none could not be captured; empty where each could.
  const std::string& capture_failure() const { return capture_failure_; }

 private:
  struct Bucket;
  struct Flight;
  /// A batch's key, and its bucket's size.
  std::pair<BatchKey, int64_t> place_of(const std::vector<RunningRequest*>& batch) const;
  int64_t size_for(const BatchKey& key, int64_t requests) const;
  Bucket& bucket_for(BatchKey key, int64_t size, const at::Tensor& labels);
  template <typename Work>
  auto with_room(const Work& work);
  int64_t send(const std::vector<RunningRequest*>& batch);
  double trial_once(const BatchKey& key, int64_t requests);
  void draw_noise(Bucket& bucket, const std::vector<RunningRequest*>& batch);
  void fill(Bucket& bucket, const std::vector<RunningRequest*>& batch);
  void condition(Bucket& bucket, const std::vector<RunningRequest*>& batch, const at::Tensor& labels);
  void work(Bucket& bucket);
  void launch(Bucket& bucket, int64_t requests);
  void capture(Bucket& bucket);

  const Denoiser& denoiser_;
  const ModelTarget target_;
  const int64_t least_;
  std::unique_ptr<cuda::OwnStream> stream_;  // goes after all that used it
  std::unique_ptr<cuda::Aside> aside_;       // noise, on its way while a step runs
  std::unique_ptr<Flight> flight_;
  std::map<std::pair<BatchKey, int64_t>, std::unique_ptr<Bucket>> buckets_;
  uint64_t launches_ = 0;
  bool captured_ = false;  // something, since the pool is new: it may hold memory
  std::string capture_failure_;
};

}  // namespace nd
