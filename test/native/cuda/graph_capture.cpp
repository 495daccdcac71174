#include <cuda_runtime_api.h>

#include "check.h"
#include "cuda/values.h"

// On a GPU alone: what the emulation does not have.

namespace {

using namespace nd::kernels::cuda;

void check_cuda(cudaError_t status) {
  if (status != cudaSuccess) nd::fail(nd::ErrorCode::op, "CUDA: ", cudaGetErrorString(status));
}

/// A stream, and a graph captured on it.
class Capture {
 public:
  Capture() { check_cuda(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking)); }
  Capture(const Capture&) = delete;
  ~Capture() {
    if (graph_ != nullptr) cudaGraphExecDestroy(graph_);
    cudaStreamDestroy(stream_);
  }

  template <typename Body>
  void record(const Body& body) {
    cudaGraph_t graph = nullptr;
    check_cuda(cudaStreamBeginCapture(stream_, cudaStreamCaptureModeThreadLocal));
    body(stream_);
    check_cuda(cudaStreamEndCapture(stream_, &graph));
    count_overlaps(graph);
    check_cuda(cudaGraphInstantiate(&graph_, graph, 0));
    check_cuda(cudaGraphDestroy(graph));
  }
  void replay() {
    check_cuda(cudaGraphLaunch(graph_, stream_));
    check_cuda(cudaStreamSynchronize(stream_));
  }

  /// Kernels that may begin before the one before them is done.
  int overlaps() const { return overlaps_; }

 private:
  void count_overlaps(cudaGraph_t graph) {
#if CUDART_VERSION >= 13000
    const auto get = [&](auto*... of) { check_cuda(cudaGraphGetEdges(graph, of...)); };
#else
    const auto get = [&](auto*... of) { check_cuda(cudaGraphGetEdges_v2(graph, of...)); };
#endif
    size_t count = 0;
    cudaGraphNode_t* no_nodes = nullptr;
    cudaGraphEdgeData* no_edges = nullptr;
    get(no_nodes, no_nodes, no_edges, &count);
    std::vector<cudaGraphNode_t> from(count), to(count);
    std::vector<cudaGraphEdgeData> edges(count);
    get(from.data(), to.data(), edges.data(), &count);
    for (const auto& edge : edges) overlaps_ += edge.type == cudaGraphDependencyTypeProgrammatic;
  }

  cudaStream_t stream_ = nullptr;
  cudaGraphExec_t graph_ = nullptr;
  int overlaps_ = 0;
};

}  // namespace

TEST("a captured graph steps as the launches do, by what its buffers hold when it is replayed") {
  const int64_t channels = 3, pixels = 1024, numel = channels * pixels;
  const auto start = values::random(numel, 1), out = values::random(numel, 2);
  const DeviceBuffer<float> direct(start), replayed(start), model(out);
  const auto step_of = [&](float* x, uint32_t draw) {
    return DeviceStep{.row = {.p = 1, .q = -0.37F, .d = 0.929F, .bound = 1, .c_x0 = 0.46F, .c_xt = 0.53F, .sigma = 0.3F},
                      .active = true, .draws_philox = true, .seed = 9, .draw = draw, .x = x};
  };
  const ModelOutput output{model.get(), Element::f32, numel, 1, channels};
  const DeviceBuffer<DeviceStep> in_graph(1);
  Capture capture;
  capture.record([&](Stream stream) { fused_step(in_graph.get(), 1, channels, pixels, output, stream); });
  for (const uint32_t draw : {1U, 2U, 3U}) {
    const DeviceBuffer<DeviceStep> steps(std::vector<DeviceStep>{step_of(direct.get(), draw)});
    fused_step(steps.get(), 1, channels, pixels, output, nullptr);
    const DeviceStep step = step_of(replayed.get(), draw);
    device_memory::copy_in(in_graph.get(), &step, sizeof step);
    capture.replay();
    EXPECT(values::same(direct.values(), replayed.values()));
  }
}

TEST("GroupNorm is captured, in one kernel and in chunks") {
  for (const int64_t chunk : {0, 300}) {
    const GroupNormCall call{.shape = {2, 2000, 128, 32}, .parameters = {.eps = 1e-6F}, .element = Element::f32,
                             .chunk_pixels = chunk};
    const auto host = values::random(2 * 2000 * 128, 1);
    const DeviceBuffer<float> x(host), direct(host.size()), replayed(host.size());
    const DeviceBuffer<unsigned char> workspace(group_norm_workspace(call, x.get(), direct.get()));
    group_norm(call, x.get(), direct.get(), workspace.get(), nullptr);
    Capture capture;
    capture.record([&](Stream stream) { group_norm(call, x.get(), replayed.get(), workspace.get(), stream); });
    capture.replay();
    EXPECT(values::same(direct.values(), replayed.values()));
  }
}

TEST("kernels overlap in graphs too, where the device can") {
  int major = 0;
  check_cuda(cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, 0));
  const GroupNormCall call{.shape = {1, 64, 128, 32}, .parameters = {.eps = 1e-6F}, .element = Element::f32};
  const DeviceBuffer<float> x(values::random(64 * 128, 1)), y(64 * 128);
  group_norm(call, x.get(), y.get(), nullptr, nullptr);  // its kernel is there
  Capture capture;
  capture.record([&](Stream stream) {
    for (int i = 0; i < 3; ++i) group_norm(call, x.get(), y.get(), nullptr, stream);
  });
  EXPECT_EQUAL(capture.overlaps(), major == 9 || major == 10 ? 2 : 0);
}

TEST("what overlaps kernels is captured behind other work too, which it waits for") {
  const GroupNormCall call{.shape = {1, 64, 128, 32}, .parameters = {.eps = 1e-6F}, .element = Element::f32};
  const size_t count = 64 * 128;
  const DeviceBuffer<float> zeros(std::vector<float>(count, 0)), x(values::random(count, 1)), direct(count), replayed(count);
  group_norm(call, zeros.get(), direct.get(), nullptr, nullptr);
  Capture capture;
  capture.record([&](Stream stream) {
    check_cuda(cudaMemsetAsync(x.get(), 0, count * sizeof(float), static_cast<cudaStream_t>(stream)));
    group_norm(call, x.get(), replayed.get(), nullptr, stream);
  });
  EXPECT_EQUAL(capture.overlaps(), 0);
  capture.replay();
  EXPECT(values::same(direct.values(), replayed.values()));
}
