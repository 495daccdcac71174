#include <ATen/ATen.h>
#include <ATen/Context.h>
#include <ATen/detail/CUDAHooksInterface.h>

#include "core/errors.h"
#include "kernels/cuda_convolutions.h"
#include "kernels/cuda_ops.h"

// The same names where the CUDA kernels are not built. Nothing is served, so only a mistake comes further; but libtorch's
// CUDA may be there.
namespace nd::cuda {
namespace {

[[noreturn]] void not_built() { fail(ErrorCode::device, "this build of the addon has no CUDA kernels"); }

}  // namespace

struct OwnStream::State {};
struct Aside::State {};
struct Mark::State {};
struct GraphPool::State {};
struct Graph::State {};

bool serves(at::Device, at::ScalarType) { return false; }
ChannelRows channel_rows(const at::Tensor&, int64_t) { not_built(); }
void group_norm(const at::Tensor&, const at::Tensor&, const at::Tensor&, ChannelRows, int64_t,
                const kernels::GroupNormParameters&) {
  not_built();
}
bool split_k_convolution(const SplitKCall&, const at::Tensor&) { return false; }
at::Tensor thin_weight(const at::Tensor&) { return {}; }
LibrariesAlone::LibrariesAlone() = default;
LibrariesAlone::~LibrariesAlone() = default;
bool thin_convolution(const PlainCall&, const at::Tensor&) { return false; }
bool narrow_convolution(const PlainCall&, const at::Tensor&) { return false; }
at::Tensor upsample_nearest(const at::Tensor&) { not_built(); }
at::Tensor pad_right_below(const at::Tensor&) { not_built(); }
at::Tensor interleave_phases(const at::Tensor&) { not_built(); }
at::Tensor join_phases(const at::Tensor&, const at::Tensor&) { not_built(); }
void philox_normal(const std::vector<kernels::cuda::PhiloxDraw>&, int64_t, at::Device) { not_built(); }
void add_bias_residual_(const at::Tensor&, const at::Tensor&, const at::Tensor&, float) { not_built(); }
at::Tensor gather_rows(const at::Tensor&, const at::Tensor&) { not_built(); }
void gather_samples(DeviceSteps, const at::Tensor&, const at::Tensor&) { not_built(); }
void fused_step(DeviceSteps, int64_t, const at::Tensor&) { not_built(); }
StepBuffer::StepBuffer(int64_t, at::Device) : count_(0) { not_built(); }
kernels::cuda::DeviceStep& StepBuffer::operator[](int64_t) { not_built(); }
DeviceSteps StepBuffer::on_device() const { not_built(); }
void StepBuffer::send() { not_built(); }
OwnStream::OwnStream(at::Device) { not_built(); }
OwnStream::~OwnStream() = default;
Aside::Aside(at::Device) { not_built(); }
Aside::~Aside() = default;
void Aside::follow() { not_built(); }
void Aside::copy(const at::Tensor&, const at::Tensor&) { not_built(); }
void Aside::join() { not_built(); }
bool is_capturing() { not_built(); }
Mark::Mark(at::Device) { not_built(); }
Mark::~Mark() = default;
void Mark::record() { not_built(); }
void Mark::wait() const { not_built(); }
double Mark::seconds_since(const Mark&) const { not_built(); }
double best_seconds(at::Device, const std::function<void()>&) { not_built(); }
GraphPool::GraphPool(at::Device) { not_built(); }
GraphPool::~GraphPool() = default;
Graph::Graph(const GraphPool&, at::Device, const std::function<void()>&) { not_built(); }
Graph::~Graph() = default;
void Graph::replay() { not_built(); }
MeasuredAlgorithms::MeasuredAlgorithms() { not_built(); }
MeasuredAlgorithms::~MeasuredAlgorithms() = default;
bool measures_algorithms() { return false; }
at::Tensor send(const at::Tensor&, at::Device) { not_built(); }
void release_unused(at::Device) { not_built(); }
void synchronize(at::Device device) { at::detail::getCUDAHooks().deviceSynchronize(device.index()); }

}  // namespace nd::cuda
