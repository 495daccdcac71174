#include "kernels/cudnn_convolution.h"

#include <ATen/ATen.h>
#include <ATen/Context.h>
#include <ATen/cudnn/Handle.h>
#include <c10/cuda/CUDAGuard.h>
#include <cuda_runtime_api.h>

#include <algorithm>
#include <exception>
#include <limits>
#include <map>
#include <mutex>
#include <optional>

#include "core/device.h"
#include "kernels/cuda/cudnn_graph.h"
#include "kernels/cuda_ops.h"

namespace nd::cuda {
namespace {

/// The memory that a way may want.
constexpr int64_t kMostWorkspace = int64_t{256} << 20;

enum Id : int64_t { x_id = 1, weight_id, bias_id, y_id, residual_id, sums_id, with_residual_id };

std::optional<cudnnDataType_t> type_of(const at::Tensor& tensor) {
  switch (tensor.scalar_type()) {
    case at::kFloat: return CUDNN_DATA_FLOAT;
    case at::kHalf: return CUDNN_DATA_HALF;
    case at::kBFloat16: return CUDNN_DATA_BFLOAT16;
    default: return std::nullopt;
  }
}

cudnn::Sizes sizes_of(const at::Tensor& tensor) {
  return {tensor.size(0), tensor.size(1), tensor.size(2), tensor.size(3)};
}

bool is_aligned(const at::Tensor& tensor) {
  return reinterpret_cast<uintptr_t>(tensor.const_data_ptr()) % static_cast<uintptr_t>(cudnn::alignment) == 0;
}

/// Whether the kernels' wide loads can read it. Some of them count elements in 32 bits.
bool fits(const at::Tensor& image, at::ScalarType dtype) {
  return image.scalar_type() == dtype && image.is_contiguous(at::MemoryFormat::ChannelsLast) && is_aligned(image) &&
         image.size(1) * image.element_size() % cudnn::alignment == 0 && image.numel() > 0 &&
         image.numel() <= std::numeric_limits<int32_t>::max();
}

bool fits(const FusedConvolution& call, const at::Tensor& y) {
  const auto dtype = y.scalar_type();
  return type_of(y) && fits(call.x, dtype) && fits(call.weight, dtype) && fits(y, dtype) &&
         (!call.residual.defined() || fits(call.residual, dtype)) && call.bias.scalar_type() == dtype &&
         call.bias.is_contiguous() && is_aligned(call.bias);
}

/// In this order, with the sums in float32 and the bias in x's dtype, it is the pattern that cuDNN brings kernels for. For any
/// other it compiles some, which takes up to half a second each.
cudnn::Descriptor graph_of(const FusedConvolution& call, const at::Tensor& y, cudnnHandle_t handle) {
  using cudnn::tensor;
  const auto type = type_of(y).value();
  const auto x = tensor(x_id, type, sizes_of(call.x)), weight = tensor(weight_id, type, sizes_of(call.weight)),
             bias = tensor(bias_id, type, {1, y.size(1), 1, 1}), out = tensor(y_id, type, sizes_of(y)),
             residual = tensor(residual_id, type, sizes_of(y));
  const auto sums = tensor(sums_id, CUDNN_DATA_FLOAT, sizes_of(y), /*is_virtual=*/true),
             with_residual = tensor(with_residual_id, CUDNN_DATA_FLOAT, sizes_of(y), /*is_virtual=*/true);
  std::vector<cudnn::Descriptor> operations;
  operations.push_back(cudnn::convolution(x, weight, sums, call.stride, call.padding, call.padding_after));
  if (call.residual.defined()) operations.push_back(cudnn::sum(sums, residual, with_residual));
  operations.push_back(cudnn::sum(call.residual.defined() ? with_residual : sums, bias, out));
  return cudnn::graph(handle, operations);
}

/// Not those that give other bits the next time or add in less than float32; and float32 stays float32 unless TF32 may be.
bool is_precise(const cudnn::Descriptor& engine_config, bool exact_float) {
  const auto notes = cudnn::numerical_notes(engine_config);
  return std::none_of(notes.begin(), notes.end(), [exact_float](cudnnBackendNumericalNote_t note) {
    return note == CUDNN_NUMERICAL_NOTE_NONDETERMINISTIC || note == CUDNN_NUMERICAL_NOTE_REDUCED_PRECISION_REDUCTION ||
           (exact_float && (note == CUDNN_NUMERICAL_NOTE_TENSOR_CORE || note == CUDNN_NUMERICAL_NOTE_DOWN_CONVERT_INPUTS));
  });
}

void run(const cudnn::Plan& plan, const FusedConvolution& call, const at::Tensor& y, cudnnHandle_t handle) {
  const auto bytes = plan.workspace_bytes();
  const auto workspace = bytes == 0 ? at::Tensor() : at::empty({bytes}, at::dtype(at::kByte).device(y.device()));
  const auto address = [](const at::Tensor& tensor) {
    return tensor.defined() ? const_cast<void*>(tensor.const_data_ptr()) : nullptr;
  };
  const std::array ids{int64_t{x_id}, int64_t{weight_id}, int64_t{bias_id}, int64_t{y_id}, int64_t{residual_id}};
  const std::array tensors{address(call.x), address(call.weight), address(call.bias), address(y), address(call.residual)};
  const size_t count = call.residual.defined() ? 5 : 4;
  plan.run(handle, std::span(ids).first(count), std::span(tensors).first(count), address(workspace));
}

/// Whether it was done. What failed leaves no error of CUDA's for the next launch to find.
template <typename Failure>
bool succeeds(const auto& work) {
  try {
    work();
    return true;
  } catch (const Failure&) {
    cudaGetLastError();
    return false;
  }
}

/// The fastest way that cuDNN has for a call.
class Search {
 public:
  Search(const FusedConvolution& call, const at::Tensor& y, cudnnHandle_t handle) : call_(call), y_(y), handle_(handle) {
    succeeds<std::exception>([&] { measure_all(); });
  }

  std::optional<cudnn::Plan> take_fastest() { return std::move(best_); }
  /// Whether some way was passed over because memory was short just then.
  bool was_short_of_memory() const { return was_short_of_memory_; }

 private:
  void measure_all() {
    const int most = at::globalContext().benchmarkLimitCuDNN();  // of libtorch's own searches too; 0: all
    const auto graph = graph_of(call_, y_, handle_);
    for (const auto mode : {CUDNN_HEUR_MODE_A, CUDNN_HEUR_MODE_FALLBACK}) {
      for (auto& config : cudnn::engine_configs(graph, mode)) {
        succeeds<std::exception>([&] { measure(std::move(config)); });
        if (most > 0 && measured_ == most) return;
      }
    }
  }

  void measure(cudnn::Descriptor engine_config) {
    if (!is_precise(engine_config, y_.scalar_type() == at::kFloat && !tf32_allowed())) return;
    cudnn::Plan plan(std::move(engine_config));
    if (plan.workspace_bytes() > kMostWorkspace) return;
    double seconds = 0;
    try {
      seconds = best_seconds(y_.device(), [&] { run(plan, call_, y_, handle_); });
    } catch (const c10::OutOfMemoryError&) {
      was_short_of_memory_ = true;
      return;
    }
    ++measured_;
    if (seconds >= least_) return;
    least_ = seconds;
    best_ = std::move(plan);
  }

  const FusedConvolution& call_;
  const at::Tensor& y_;
  const cudnnHandle_t handle_;
  int measured_ = 0;
  bool was_short_of_memory_ = false;
  double least_ = std::numeric_limits<double>::infinity();
  std::optional<cudnn::Plan> best_;
};

/// All that a plan depends on.
using Key = std::array<int64_t, 16>;

Key key_of(const FusedConvolution& call, const at::Tensor& y) {
  const auto x = sizes_of(call.x), weight = sizes_of(call.weight);
  const auto dtype = static_cast<int64_t>(y.scalar_type());
  return {y.device().index(), dtype, x[0], x[1], x[2], x[3], weight[0], weight[2], weight[3], call.stride, call.padding[0],
          call.padding[1], call.padding_after[0], call.padding_after[1], call.residual.defined(), tf32_allowed()};
}

/// The fastest plan for a key, none where there is no plan. Held while it is sought, and while it is run. Kept for the process:
/// a plan is some KB.
struct Entry {
  std::mutex mutex;
  bool is_known = false;
  std::optional<cudnn::Plan> plan;
};

Entry& entry_of(const Key& key) {
  static auto* mutex = new std::mutex;  // both outlive every thread
  static auto* entries = new std::map<Key, Entry>;
  const std::lock_guard lock(*mutex);
  return (*entries)[key];
}

}  // namespace

bool convolution_bias_residual(const FusedConvolution& call, const at::Tensor& y) {
  if (!fits(call, y)) return false;
  const c10::cuda::CUDAGuard guard(y.device());
  auto& entry = entry_of(key_of(call, y));
  const std::lock_guard lock(entry.mutex);
  if (!entry.is_known && !measures_algorithms()) return false;
  const auto handle = at::native::getCudnnHandle();
  if (!entry.is_known) {
    Search search(call, y, handle);
    entry.plan = search.take_fastest();
    entry.is_known = entry.plan || !search.was_short_of_memory();
  }
  return entry.plan && succeeds<cudnn::Refused>([&] { run(*entry.plan, call, y, handle); });
}

}  // namespace nd::cuda
