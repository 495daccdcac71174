#pragma once

#include <exception>
#include <functional>
#include <memory>
#include <vector>

#include "core/engine/request.h"
#include "kernels/cuda_ops.h"

namespace nd {

/// x_0 [1, C, H, W] as the caller wants it, in the host's memory.
at::Tensor output_of(const at::Tensor& x, SampleOutput output);

/// The x_0 of requests that are done on CUDA, all of one shape, on their way to the host: behind what is on this thread's
/// stream, which nobody waits for until they are asked for.
class Outputs {
 public:
  explicit Outputs(const std::vector<RunningRequest*>& done);
  /// Waits for them, and calls each(id, output, error) for every request: with its output, or with what was wrong.
  void land(const std::function<void(uint64_t, const at::Tensor&, const std::exception_ptr&)>& each) const;

 private:
  struct Owner {
    uint64_t id;
    SampleOutput output;
  };
  std::vector<Owner> owners_;
  at::Tensor host_;  // pinned
  std::unique_ptr<cuda::Mark> copied_;
};

}  // namespace nd
