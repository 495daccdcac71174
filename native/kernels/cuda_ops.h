#pragma once

#include <ATen/core/Tensor.h>

#include <array>
#include <exception>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "kernels/cuda/kernels.h"

/// What this project brings to CUDA, as tensors see it. In a build without the CUDA kernels nothing is served, and
/// everything else here throws ERR_DEVICE.
namespace nd::cuda {

/// Whether the kernels take tensors of that device and dtype: CUDA from compute capability 8.0; float32, float16, bfloat16.
bool serves(at::Device device, at::ScalarType dtype);

/// Floats to be added to the channels: a row of `first` for each sample, or with stride 0 one for all.
struct ChannelRows {
  const float* first = nullptr;  // null: none
  int64_t stride = 0;
};
ChannelRows channel_rows(const at::Tensor& rows, int64_t column = 0);

/// kernels::group_norm_nhwc of x + add, [B, C, H, W] in NHWC memory; y may be x. Where `second` is defined: of the two side by
/// side in their channels, into y.
void group_norm(const at::Tensor& x, const at::Tensor& second, const at::Tensor& y, ChannelRows add, int64_t groups,
                const kernels::GroupNormParameters& parameters);

/// y = (y + bias + residual)·scale in place. y and residual (undefined: none): [B, C, H, W] in NHWC memory; bias: [C] float.
void add_bias_residual_(const at::Tensor& y, const at::Tensor& bias, const at::Tensor& residual, float scale);

/// x [B, C, H, W], NHWC, as [B, C, 2H, 2W]: every pixel four times.
at::Tensor upsample_nearest(const at::Tensor& x);
/// As [B, C, H + 1, W + 1], with zeros on the right and below.
at::Tensor pad_right_below(const at::Tensor& x);

/// z [4·B, C, H, W], NHWC, phase after phase, as [B, C, 2H, 2W]: the pixel (2i + a, 2j + b) is phase 2a + b of (i, j).
at::Tensor interleave_phases(const at::Tensor& z);
/// z [B, 4·C, H + 1, W + 1], NHWC, with the channels of phase 2a + b together, as [B, C, 2H, 2W]: the pixel (2i + a, 2j + b) is
/// phase 2a + b of (i + a, j + b), plus bias ([C] float).
at::Tensor join_phases(const at::Tensor& z, const at::Tensor& bias);

/// Each of the draws, of `numel` floats on the device: the bits of kernels::philox_normal.
void philox_normal(const std::vector<kernels::cuda::PhiloxDraw>& draws, int64_t numel, at::Device device);

/// table[rows], float; NaN where there is no such row. Unlike index_select it looks at nothing on the host.
at::Tensor gather_rows(const at::Tensor& table, const at::Tensor& rows);

/// `count` steps in device memory.
struct DeviceSteps {
  const kernels::cuda::DeviceStep* first;
  int64_t count;
};
/// x[i] = the sample of step i in x's dtype and NHWC memory, timesteps[i] its timestep.
void gather_samples(DeviceSteps steps, const at::Tensor& x, const at::Tensor& timesteps);
/// Every active sample's step, in place; out: [count, C or 2C, H, W] of any dense strides and dtype served.
void fused_step(DeviceSteps steps, int64_t channels, const at::Tensor& out);

/// Steps in pinned memory of the host, and their copy at one place of the device.
class StepBuffer {
 public:
  StepBuffer(int64_t count, at::Device device);
  /// Of the next to be sent; holds anything before it is written.
  kernels::cuda::DeviceStep& operator[](int64_t i);
  DeviceSteps on_device() const;
  /// To the device, in the stream's order. There are two of the host's, in turn: before this is called, the stream must have
  /// come past the call before the last.
  void send();

 private:
  int64_t count_;
  std::array<at::Tensor, 2> host_;
  at::Tensor device_;
  size_t turn_ = 0;
};

/// Where the host's work of this thread goes while it lives: a stream that nobody else has, and that waits for no other.
class OwnStream {
 public:
  explicit OwnStream(at::Device device);
  /// What was put on it must be done: the next one may get it.
  ~OwnStream();
  OwnStream(const OwnStream&) = delete;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

/// A stream beside this thread's, for copies that need not wait for its work.
class Aside {
 public:
  explicit Aside(at::Device device);
  /// What was put on it must be done.
  ~Aside();
  Aside(const Aside&) = delete;
  /// It goes on after what this thread's stream has now: memory that was made there may still be in use.
  void follow();
  /// `from` in pinned memory.
  void copy(const at::Tensor& to, const at::Tensor& from);
  /// This thread's stream goes on after all that was put on it.
  void join();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

/// Whether this thread's stream is in a graph's capture.
bool is_capturing();

/// A point of this thread's stream.
class Mark {
 public:
  explicit Mark(at::Device device);
  ~Mark();
  Mark(const Mark&) = delete;
  void record();
  void wait() const;
  /// Seconds on the device between two recorded marks that were waited for.
  double seconds_since(const Mark& start) const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

/// How long `work` takes on the device, in seconds: of a few runs the one that was least disturbed, without the time that the
/// host takes to launch it, which a graph saves.
double best_seconds(at::Device device, const std::function<void()>& work);

/// Memory that graphs of one thread share.
class GraphPool {
 public:
  explicit GraphPool(at::Device device);
  ~GraphPool();
  GraphPool(const GraphPool&) = delete;

 private:
  friend class Graph;
  struct State;
  std::unique_ptr<State> state_;
};

/// Work of this thread's stream that was captured once and runs again with one call, on the same memory.
class Graph {
 public:
  /// Captures what `work` gives to the stream, none of which runs; in place of the default stream, which can't be captured, it
  /// gets another. Throws what it throws; the stream and the pool can be used afterwards. `work` draws none of libtorch's
  /// random numbers. Waits until no other thread measures or captures.
  Graph(const GraphPool& pool, at::Device device, const std::function<void()>& work);
  ~Graph();
  Graph(const Graph&) = delete;
  void replay();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

/// Why an attempt to capture something failed; none where it did not.
inline std::optional<std::string> failure_of(const std::function<void()>& attempt) {
  try {
    attempt();
    return std::nullopt;
  } catch (const std::exception& e) {
    return e.what();
  } catch (...) {
    return "something that is no exception";
  }
}

/// While it lives, cuDNN measures on this thread which algorithm is fastest for a convolution that it has not seen. Waits
/// until no other thread measures or captures.
class MeasuredAlgorithms {
 public:
  MeasuredAlgorithms();
  ~MeasuredAlgorithms();
  MeasuredAlgorithms(const MeasuredAlgorithms&) = delete;
};
bool measures_algorithms();

/// A copy on the device that the host does not wait for; `tensor` is on the CPU.
at::Tensor send(const at::Tensor& tensor, at::Device device);

/// Waits for everything on the device.
void synchronize(at::Device device);
/// Gives back memory that libtorch keeps and nobody uses. Waits until no other thread measures or captures.
void release_unused(at::Device device);

}  // namespace nd::cuda
