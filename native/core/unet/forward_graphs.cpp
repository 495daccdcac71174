#include "core/unet/forward_graphs.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <list>
#include <optional>
#include <vector>

#include "core/out_of_memory.h"
#include "kernels/cuda_ops.h"

namespace nd {
namespace {

/// Runs of a shape before it is captured: libtorch and cuDNN set things up in them.
constexpr int kWarmUps = 2;

/// Shapes whose graphs are kept: each keeps its activations' memory.
constexpr size_t kMaxEntries = 4;

/// Sizes and dtypes of the inputs, one after the other.
std::vector<int64_t> key_of(const ForwardInputs& inputs) {
  std::vector<int64_t> key;
  for (const auto* tensor : {&inputs.x, &inputs.timesteps, &inputs.class_labels}) {
    key.push_back(tensor->defined() ? static_cast<int64_t>(tensor->scalar_type()) : -1);
    if (tensor->defined()) key.insert(key.end(), tensor->sizes().begin(), tensor->sizes().end());
  }
  return key;
}

at::Tensor copy_of(const at::Tensor& tensor) { return tensor.defined() ? tensor.clone() : tensor; }
void write(const at::Tensor& to, const at::Tensor& from) {
  if (to.defined()) to.copy_(from);
}

}  // namespace

struct ForwardGraphs::Entry {
  std::vector<int64_t> key;
  int runs = 0;
  bool can_be_captured = true;
  ForwardInputs inputs{};  // the graph reads them
  at::Tensor output{};     // and writes this
  std::unique_ptr<cuda::Graph> graph{};
};

struct ForwardGraphs::State {
  std::optional<cuda::GraphPool> pool;
  std::list<Entry> entries;  // the last used first
  std::string capture_failure;
};

ForwardGraphs::ForwardGraphs(Forward forward) : forward_(std::move(forward)), state_(std::make_unique<State>()) {}
ForwardGraphs::~ForwardGraphs() = default;

ForwardGraphs::Entry& ForwardGraphs::entry_of(const ForwardInputs& inputs) {
  auto& entries = state_->entries;
  const auto key = key_of(inputs);
  const auto found = std::find_if(entries.begin(), entries.end(), [&](const Entry& entry) { return entry.key == key; });
  if (found != entries.end()) {
    entries.splice(entries.begin(), entries, found);
    return entries.front();
  }
  if (entries.size() == kMaxEntries) {
    cuda::synchronize(inputs.x.device());  // it may be under way
    entries.pop_back();
  }
  return entries.emplace_front(Entry{key});
}

at::Tensor ForwardGraphs::operator()(const ForwardInputs& inputs) {
  const std::lock_guard lock(mutex_);
  try {
    return run(inputs);
  } catch (...) {
    if (!state_->pool || !ran_out_of_memory(std::current_exception())) throw;
  }
  // Graphs keep their activations' memory: they go, and it is tried once more.
  const auto device = inputs.x.device();
  cuda::synchronize(device);  // they may be under way
  state_->entries.clear();
  state_->pool.reset();
  cuda::release_unused(device);
  return run(inputs);
}

at::Tensor ForwardGraphs::run(const ForwardInputs& inputs) {
  auto& entry = entry_of(inputs);
  if (!entry.graph) {
    at::Tensor result;
    {
      const cuda::MeasuredAlgorithms measured;
      result = forward_(inputs);
    }
    // On the thread that has just run it: what cuDNN has measured, and cuBLAS's and cuDNN's handles, are a thread's own.
    if (entry.can_be_captured && ++entry.runs >= kWarmUps) capture(entry, inputs);
    return result;
  }
  write(entry.inputs.x, inputs.x);
  write(entry.inputs.timesteps, inputs.timesteps);
  write(entry.inputs.class_labels, inputs.class_labels);
  entry.graph->replay();
  return entry.output.clone(at::MemoryFormat::Contiguous);
}

void ForwardGraphs::capture(Entry& entry, const ForwardInputs& inputs) {
  const auto failure = cuda::failure_of([&] {
    if (!state_->pool) state_->pool.emplace(inputs.x.device());
    entry.inputs = {copy_of(inputs.x), copy_of(inputs.timesteps), copy_of(inputs.class_labels)};
    entry.graph = std::make_unique<cuda::Graph>(*state_->pool, inputs.x.device(), [&] { entry.output = forward_(entry.inputs); });
  });
  if (!failure) return;
  state_->capture_failure = *failure;
  // Too little memory for what it keeps, say: it goes on as it went.
  entry = Entry{entry.key};
  entry.can_be_captured = false;
}

int64_t ForwardGraphs::graphs() const {
  const std::lock_guard lock(mutex_);
  return std::count_if(state_->entries.begin(), state_->entries.end(), [](const Entry& entry) { return entry.graph != nullptr; });
}

std::string ForwardGraphs::capture_failure() const {
  const std::lock_guard lock(mutex_);
  return state_->capture_failure;
}

}  // namespace nd
