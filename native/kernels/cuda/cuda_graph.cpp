#include <ATen/ATen.h>
#include <ATen/Context.h>
#include <ATen/cuda/CUDAContext.h>
#include <ATen/cuda/CUDAEvent.h>
#include <ATen/cuda/CUDAGraph.h>
#include <c10/cuda/CUDAFunctions.h>
#include <c10/cuda/CUDAGraphsC10Utils.h>
#include <c10/cuda/CUDAGuard.h>

#include <mutex>
#include <optional>

#include "kernels/cuda_ops.h"

namespace nd::cuda {

void use_own_stream(at::Device device) {
  c10::cuda::set_device(device.index());
  c10::cuda::setCurrentCUDAStream(c10::cuda::getStreamFromPool(/*isHighPriority=*/false, device.index()));
}

bool is_capturing() {
  return c10::cuda::currentStreamCaptureStatusMayInitCtx() != c10::cuda::CaptureStatus::None;
}

struct Mark::State {
  at::Device device;
  at::cuda::CUDAEvent event{cudaEventDefault};  // with a time
};
Mark::Mark(at::Device device) : state_(std::make_unique<State>(State{device})) {}
Mark::~Mark() = default;
void Mark::record() { state_->event.record(c10::cuda::getCurrentCUDAStream(state_->device.index())); }
void Mark::wait() const { state_->event.synchronize(); }
double Mark::seconds_since(const Mark& start) const { return 1e-3 * start.state_->event.elapsed_time(state_->event); }

struct GraphPool::State {
  at::cuda::MempoolId_t id = at::cuda::graph_pool_handle();
};
GraphPool::GraphPool() : state_(std::make_unique<State>()) {}
GraphPool::~GraphPool() = default;

struct Graph::State {
  at::cuda::CUDAGraph graph;
};

Graph::Graph(const GraphPool& pool, at::Device device, const std::function<void()>& work) : state_(std::make_unique<State>()) {
  const c10::cuda::CUDAGuard guard(device);
  std::optional<c10::cuda::CUDAStreamGuard> aside;
  if (c10::cuda::getCurrentCUDAStream() == c10::cuda::getDefaultCUDAStream()) aside.emplace(c10::cuda::getStreamFromPool());
  // Other threads may allocate and launch meanwhile: they are not this capture's business.
  state_->graph.capture_begin(pool.state_->id, cudaStreamCaptureModeThreadLocal);
  try {
    work();
  } catch (...) {
    // The stream must leave capture mode, whatever that says of what was captured.
    try {
      state_->graph.capture_end();
    } catch (...) {
    }
    cudaGetLastError();
    throw;
  }
  state_->graph.capture_end();
}
Graph::~Graph() = default;
void Graph::replay() { state_->graph.replay(); }

namespace {

/// libtorch's flag is the process's; several threads may want it at once.
struct Measuring {
  std::mutex mutex;
  int wanted = 0;
  bool before = false;
};
Measuring& measuring() {
  static auto* all = new Measuring();
  return *all;
}

}  // namespace

MeasuredAlgorithms::MeasuredAlgorithms() {
  auto& all = measuring();
  const std::lock_guard lock(all.mutex);
  if (all.wanted++ > 0) return;
  all.before = at::globalContext().benchmarkCuDNN();
  at::globalContext().setBenchmarkCuDNN(true);
}
MeasuredAlgorithms::~MeasuredAlgorithms() {
  auto& all = measuring();
  const std::lock_guard lock(all.mutex);
  if (--all.wanted == 0) at::globalContext().setBenchmarkCuDNN(all.before);
}

void synchronize(at::Device device) {
  const c10::cuda::CUDAGuard guard(device);
  c10::cuda::device_synchronize();
}

}  // namespace nd::cuda
