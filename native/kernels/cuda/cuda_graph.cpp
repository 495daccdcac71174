#include <ATen/ATen.h>
#include <ATen/Context.h>
#include <ATen/cuda/CUDAContext.h>
#include <ATen/cuda/CUDAEvent.h>
#include <ATen/cuda/CUDAGraph.h>
#include <ATen/cuda/Sleep.h>
#include <c10/cuda/CUDACachingAllocator.h>
#include <c10/cuda/CUDAFunctions.h>
#include <c10/cuda/CUDAGraphsC10Utils.h>
#include <c10/cuda/CUDAGuard.h>

#include <algorithm>
#include <deque>
#include <exception>
#include <limits>
#include <map>
#include <mutex>
#include <optional>
#include <vector>

#include "core/errors.h"
#include "kernels/cuda_ops.h"

namespace nd::cuda {

struct OwnStream::State {
  c10::cuda::CUDAStream stream;
};

namespace {

/// Streams that nobody has. libtorch's own pool has 32, which go round: two engines could get one, and the work of the one
/// would come into the graph that the other captures.
class FreeStreams {
 public:
  static FreeStreams& get() {
    static auto* streams = new FreeStreams;  // outlives every thread
    return *streams;
  }
  c10::cuda::CUDAStream take(c10::DeviceIndex device) {
    const std::lock_guard lock(mutex_);
    auto& free = of_device_[device];
    if (!free.empty()) {
      const auto stream = free.back();
      free.pop_back();
      return stream;
    }
    const c10::cuda::CUDAGuard guard(device);
    cudaStream_t made = nullptr;
    C10_CUDA_CHECK(cudaStreamCreateWithFlags(&made, cudaStreamNonBlocking));
    return c10::cuda::getStreamFromExternal(made, device);
  }
  /// Kept for good: libtorch keeps memory by the stream that it was used on.
  void give_back(c10::cuda::CUDAStream stream) {
    const std::lock_guard lock(mutex_);
    of_device_[stream.device_index()].push_back(stream);
  }

 private:
  std::mutex mutex_;
  std::map<c10::DeviceIndex, std::vector<c10::cuda::CUDAStream>> of_device_;
};

}  // namespace

OwnStream::OwnStream(at::Device device) {
  c10::cuda::set_device(device.index());
  state_ = std::make_unique<State>(State{FreeStreams::get().take(device.index())});
  c10::cuda::setCurrentCUDAStream(state_->stream);
}

OwnStream::~OwnStream() {
  const auto device = state_->stream.device_index();
  if (c10::cuda::getCurrentCUDAStream(device) == state_->stream) {
    c10::cuda::setCurrentCUDAStream(c10::cuda::getDefaultCUDAStream(device));
  }
  FreeStreams::get().give_back(state_->stream);
}

struct Aside::State {
  c10::cuda::CUDAStream stream;
  at::cuda::CUDAEvent event{};  // a wait is for its last record until then

  c10::cuda::CUDAStream others() const { return c10::cuda::getCurrentCUDAStream(stream.device_index()); }
};
Aside::Aside(at::Device device) : state_(std::make_unique<State>(State{FreeStreams::get().take(device.index())})) {}
Aside::~Aside() { FreeStreams::get().give_back(state_->stream); }
void Aside::follow() {
  state_->event.record(state_->others());
  state_->event.block(state_->stream);
}
void Aside::copy(const at::Tensor& to, const at::Tensor& from) {
  const c10::cuda::CUDAStreamGuard guard(state_->stream);
  to.copy_(from, /*non_blocking=*/true);
}
void Aside::join() {
  state_->event.record(state_->stream);
  state_->event.block(state_->others());
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

double best_seconds(at::Device device, const std::function<void()>& work) {
  constexpr int kWarmUps = 2, kRuns = 4;     // the first ones set things up
  constexpr int64_t kAheadCycles = 500'000;  // some 300 µs: the device waits, so that the host has launched all by then
  const c10::cuda::CUDAGuard guard(device);
  for (int run = 0; run < kWarmUps; ++run) work();
  std::deque<Mark> marks;  // before the first run, and after each
  const auto mark = [&] { marks.emplace_back(device).record(); };
  at::cuda::sleep(kAheadCycles);
  mark();
  for (int run = 0; run < kRuns; ++run) {
    work();
    mark();
  }
  marks.back().wait();
  double best = std::numeric_limits<double>::infinity();
  for (size_t run = 1; run < marks.size(); ++run) best = std::min(best, marks[run].seconds_since(marks[run - 1]));
  return best;
}

/// libtorch keeps a pool while someone has it, and takes it back with the last: here it is there before the first graph, and
/// after the last. Within it memory is a stream's: what one graph leaves is another's only if both were captured on one.
struct GraphPool::State {
  explicit State(c10::DeviceIndex device) : device(device) {
    at::globalContext().lazyInitDevice(at::kCUDA);  // a model without weights may come before any tensor there
    c10::cuda::CUDACachingAllocator::createOrIncrefPool(device, id);
  }
  ~State() {
    c10::cuda::CUDACachingAllocator::releasePool(device, id);
    if (aside) FreeStreams::get().give_back(*aside);
  }
  /// In place of the default stream, which can't be captured.
  c10::cuda::CUDAStream stream_aside() {
    if (!aside) aside = FreeStreams::get().take(device);
    return *aside;
  }

  const c10::DeviceIndex device;
  const at::cuda::MempoolId_t id = at::cuda::graph_pool_handle();

 private:
  std::optional<c10::cuda::CUDAStream> aside;
};
GraphPool::GraphPool(at::Device device) : state_(std::make_unique<State>(device.index())) {}
GraphPool::~GraphPool() = default;

namespace {

/// What cuDNN's measuring calls, the release of all memory that is cached, libtorch forbids while any stream is captured; and
/// of two that measure at once each would disturb the other.
std::recursive_mutex& setting_up() {
  static auto* mutex = new std::recursive_mutex;  // outlives every thread
  return *mutex;
}

/// Newer versions of libtorch want to be told.
template <typename Allocator>
void tell_of_capture(Allocator& allocator, c10::DeviceIndex device, bool begins) {
  if constexpr (requires { allocator.markCaptureBegin(device); }) {
    if (begins) {
      allocator.markCaptureBegin(device);
    } else {
      allocator.markCaptureEnd(device);
    }
  }
}

thread_local int measuring = 0;

}  // namespace

/// Not at::cuda::CUDAGraph: where a capture fails, that leaves libtorch's allocator and its random generator in the midst of
/// it, for the whole process. Ours takes the memory from a pool as it does, and leaves the generator out.
struct Graph::State {
  State(c10::DeviceIndex device, at::cuda::MempoolId_t pool) : device(device), pool(pool) {}
  ~State() {
    if (executable != nullptr) C10_CUDA_CHECK_WARN(cudaGraphExecDestroy(executable));
    if (allocated) c10::cuda::CUDACachingAllocator::releasePool(device, pool);
  }

  void capture(const std::function<void()>& work) {
    const std::lock_guard lock(setting_up());
    const cudaStream_t stream = c10::cuda::getCurrentCUDAStream(device).stream();
    // What the runs before it left unused, as much as the graph will want: a capture can't make room for itself.
    c10::cuda::CUDACachingAllocator::emptyCache();
    const auto is_ours = [stream](cudaStream_t other) { return other == stream; };
    c10::cuda::CUDACachingAllocator::beginAllocateToPool(device, pool, is_ours);
    allocated = true;
    cudaGraph_t graph = nullptr;
    const auto thrown = record(stream, work, graph);
    c10::cuda::CUDACachingAllocator::endAllocateToPool(device, pool);
    if (thrown) std::rethrow_exception(thrown);
    const auto status = cudaGraphInstantiate(&executable, graph, 0);
    cudaGraphDestroy(graph);
    C10_CUDA_CHECK(status);
  }

  const c10::DeviceIndex device;
  const at::cuda::MempoolId_t pool;
  bool allocated = false;
  cudaGraphExec_t executable = nullptr;

 private:
  /// What went wrong. In every case the stream has left capture mode.
  std::exception_ptr record(cudaStream_t stream, const std::function<void()>& work, cudaGraph_t& graph) const {
    try {
      // Other threads may allocate and launch meanwhile: they are not this capture's business.
      C10_CUDA_CHECK(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal));
    } catch (...) {
      return std::current_exception();
    }
    auto& allocator = *c10::cuda::CUDACachingAllocator::get();
    tell_of_capture(allocator, device, /*begins=*/true);
    std::exception_ptr thrown;
    try {
      work();
    } catch (...) {
      thrown = std::current_exception();
    }
    const auto status = cudaStreamEndCapture(stream, &graph);
    tell_of_capture(allocator, device, /*begins=*/false);
    try {
      if (!thrown) C10_CUDA_CHECK(status);
      if (!thrown && graph == nullptr) fail(ErrorCode::op, "CUDA: nothing was captured");
    } catch (...) {
      thrown = std::current_exception();
    }
    if (!thrown) return nullptr;
    cudaGetLastError();  // or the next launch would find it
    if (graph != nullptr) cudaGraphDestroy(graph);
    return thrown;
  }
};

Graph::Graph(const GraphPool& pool, at::Device device, const std::function<void()>& work)
    : state_(std::make_unique<State>(device.index(), pool.state_->id)) {
  const c10::cuda::CUDAGuard guard(device);
  const auto current = c10::cuda::getCurrentCUDAStream();
  const c10::cuda::CUDAStreamGuard there(current == c10::cuda::getDefaultCUDAStream() ? pool.state_->stream_aside() : current);
  state_->capture(work);
}
Graph::~Graph() = default;
void Graph::replay() {
  const c10::cuda::CUDAGuard guard(static_cast<c10::DeviceIndex>(state_->device));
  C10_CUDA_CHECK(cudaGraphLaunch(state_->executable, c10::cuda::getCurrentCUDAStream(state_->device).stream()));
}

MeasuredAlgorithms::MeasuredAlgorithms() {
  setting_up().lock();
  ++measuring;
}
MeasuredAlgorithms::~MeasuredAlgorithms() {
  --measuring;
  setting_up().unlock();
}
bool measures_algorithms() { return measuring > 0; }

void release_unused(at::Device device) {
  const std::lock_guard lock(setting_up());
  const c10::cuda::CUDAGuard guard(device);
  c10::cuda::CUDACachingAllocator::emptyCache();
}

void synchronize(at::Device device) {
  const std::lock_guard lock(setting_up());  // CUDA forbids it while a stream of the device is captured
  const c10::cuda::CUDAGuard guard(device);
  c10::cuda::device_synchronize();
}

}  // namespace nd::cuda
