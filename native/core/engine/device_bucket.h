#pragma once

#include <ATen/ATen.h>

#include <array>
#include <memory>
#include <optional>
#include <utility>

#include "core/engine/device_runner.h"
#include "core/engine/step_noise.h"

namespace nd {

/// A batch size of one key: the memory that its work reads and writes, at fixed places. With guidance the model's rows are the
/// samples, then the same samples for the null class.
struct DeviceRunner::Bucket {
  Bucket(BatchKey key, int64_t size, const ModelTarget& target)
      : key(key), size(size), shape{key[0], key[1], key[2]}, steps(size, target.device) {
    const int64_t rows = size * rows_per_request(key);
    const std::vector<int64_t> sizes{rows, shape[0], shape[1], shape[2]};
    const auto options = at::device(target.device).dtype(target.dtype);
    x = at::empty(sizes, options.memory_format(at::MemoryFormat::ChannelsLast));
    timesteps = at::zeros({rows}, options.dtype(at::kLong));
    if (guided()) scales = at::ones({size}, options.dtype(at::kFloat));
  }

  bool guided() const { return rows_per_request(key) > 1; }
  int64_t rows() const { return x.size(0); }

  BatchKey key;
  int64_t size;  // requests
  SampleShape shape;
  cuda::StepBuffer steps;
  at::Tensor x, timesteps, labels, scales;
  std::optional<StepNoise> noise;  // made where a request first draws torch's numbers
  std::unique_ptr<cuda::Graph> graph;
  int runs = 0;
  bool can_be_captured = true;
  uint64_t last_launch = 0;
  int64_t out_channels = 0;  // of what the model gave last
};

/// What is on the stream: the last launch, and the one before.
struct DeviceRunner::Flight {
  explicit Flight(at::Device device) : spans{Span{device}, Span{device}}, pool(std::make_unique<cuda::GraphPool>(device)) {}

  struct Span {
    explicit Span(at::Device device) : begin(device), end(device) {}
    cuda::Mark begin, end;
    std::optional<StepTime> of{};  // what was launched between the two; none: nothing, or it was waited for
    bool sets_up = false;          // before its graph, and while cuDNN measured: no time to learn from
    /// Waits for its end.
    std::optional<StepTime> land() {
      if (!of) return std::nullopt;
      end.wait();
      of->seconds = end.seconds_since(begin);
      return std::exchange(of, std::nullopt);
    }
    /// The same, if there is something to learn from it.
    std::optional<StepTime> learn() {
      const auto took = land();
      return sets_up ? std::nullopt : took;
    }
  };
  Span& last() { return spans[turn]; }
  Span& before() { return spans[1 - turn]; }
  Span& next() { return spans[turn = 1 - turn]; }

  std::array<Span, 2> spans;
  size_t turn = 0;
  std::unique_ptr<cuda::GraphPool> pool;
};

}  // namespace nd
