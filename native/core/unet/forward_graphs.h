#pragma once

#include <ATen/core/Tensor.h>

#include <functional>
#include <memory>
#include <mutex>
#include <string>

namespace nd {

/// What a forward reads. class_labels may be undefined.
struct ForwardInputs {
  at::Tensor x, timesteps, class_labels;
};

/// A model's forwards on CUDA's default stream, each shape of inputs as one graph once it has run often enough for libtorch
/// and cuDNN to have chosen their ways: a small batch takes the time of its launches otherwise. Several threads may call it;
/// the stream keeps their work apart.
class ForwardGraphs {
 public:
  using Forward = std::function<at::Tensor(const ForwardInputs&)>;

  /// `forward` must give the same work for inputs of the same shapes, without waiting for the device.
  explicit ForwardGraphs(Forward forward);
  ~ForwardGraphs();

  /// forward(inputs), in memory of its own.
  at::Tensor operator()(const ForwardInputs& inputs);

  /// Shapes that are graphs, and why the last one that is none could not be captured; empty where each could.
  int64_t graphs() const;
  std::string capture_failure() const;

 private:
  struct Entry;
  struct State;
  Entry& entry_of(const ForwardInputs& inputs);
  at::Tensor run(const ForwardInputs& inputs);
  void capture(Entry& entry, const ForwardInputs& inputs);

  Forward forward_;
  mutable std::mutex mutex_;
  std::unique_ptr<State> state_;
};

}  // namespace nd
