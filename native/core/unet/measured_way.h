#pragma once

#include <ATen/core/Tensor.h>

#include <array>
#include <functional>
#include <map>
#include <mutex>

namespace nd {

/// Which of two ways of doing the same on CUDA is faster for inputs of a size: measured when a size first comes while
/// cuda::MeasuredAlgorithms lives on this thread, and kept.
class MeasuredWay {
 public:
  /// Does it in the faster way. `second` says itself whether it is possible at all; both may run several times.
  void run(const at::Tensor& x, const std::function<void()>& first, const std::function<bool()>& second) {
    if (!second_is_faster(x, first, second) || !second()) first();
  }

 private:
  /// A size that is new where nothing is measured, as in a graph's capture, gets the first, and so does one that memory is too
  /// short to measure for.
  bool second_is_faster(const at::Tensor& x, const std::function<void()>& first, const std::function<bool()>& second);

  using Size = std::array<int64_t, 3>;  // batch, height, width
  std::mutex mutex_;
  std::map<Size, bool> known_;
};

}  // namespace nd
