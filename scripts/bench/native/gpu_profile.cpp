// Where a forward's time goes on a GPU: gpu_profile MODEL DTYPE BATCH [IN_ORDER [LIMIT]]
// MODEL: cifar10 or church (gpu_models.h); DTYPE: bfloat16, float16 or float32. Prints the device's kernels, those of one name
// together, by their share of the sum. IN_ORDER names a file that gets every kernel as it ran: microseconds, tab, name. LIMIT:
// how many of cuDNN's ways of a convolution are measured; 0: all. A kernel is launched on its own: its time is as in a graph,
// the gaps between them are not shown. Exit status 77 without a GPU.

#include "bench.h"
#include "gpu_models.h"

#include "core/device.h"
#include "kernels/cuda_ops.h"

#include <ATen/ATen.h>
#include <ATen/CPUGeneratorImpl.h>
#include <ATen/Context.h>
#include <c10/core/InferenceMode.h>
#include <torch/csrc/autograd/profiler_kineto.h>

#include <algorithm>
#include <cstdio>
#include <fstream>
#include <map>
#include <set>
#include <string>
#include <vector>

namespace {

using namespace nd;
namespace profiler = torch::autograd::profiler;
using torch::profiler::impl::ActivityType;

struct Kernel {
  uint64_t start;
  std::string name;
  double microseconds;
};

/// What the device does in work().
template <typename Work>
std::vector<Kernel> kernels_of(const Work& work) {
  const torch::profiler::impl::ProfilerConfig config(torch::profiler::impl::ProfilerState::KINETO);
  const std::set activities{ActivityType::CUDA};
  profiler::prepareProfiler(config, activities);
  profiler::enableProfiler(config, activities);
  work();
  const auto result = profiler::disableProfiler();
  std::vector<Kernel> kernels;
  for (const auto& event : result->events()) {
    if (event.deviceType() == c10::DeviceType::CUDA) {
      kernels.push_back({event.startNs(), event.name(), 1e-3 * static_cast<double>(event.durationNs())});
    }
  }
  std::sort(kernels.begin(), kernels.end(), [](const Kernel& a, const Kernel& b) { return a.start < b.start; });
  return kernels;
}

struct Sum {
  double microseconds = 0;
  int64_t count = 0;
};

void print(const std::vector<Kernel>& kernels) {
  std::map<std::string, Sum> sums;
  double all = 0;
  for (const auto& kernel : kernels) {
    auto& sum = sums[kernel.name];
    sum.microseconds += kernel.microseconds;
    ++sum.count;
    all += kernel.microseconds;
  }
  std::vector<std::pair<std::string, Sum>> sorted(sums.begin(), sums.end());
  std::sort(sorted.begin(), sorted.end(), [](const auto& a, const auto& b) { return a.second.microseconds > b.second.microseconds; });
  std::printf("%10s %6s %6s  %zu kernels, %.1f µs\n", "µs", "share", "count", kernels.size(), all);
  for (const auto& [name, sum] : sorted) {
    std::printf("%10.1f %5.1f%% %6lld  %s\n", sum.microseconds, 100 * sum.microseconds / all, static_cast<long long>(sum.count),
                name.substr(0, 150).c_str());
  }
}

}  // namespace

int main(int count, char** arguments) {
  if (count < 4) {
    std::fprintf(stderr, "usage: gpu_profile MODEL DTYPE BATCH [IN_ORDER [LIMIT]]\n");
    return 2;
  }
  if (!at::hasCUDA()) {
    std::printf("no CUDA device\n");
    return 77;
  }
  const auto models = bench::bench_models();
  const auto found = std::find_if(models.begin(), models.end(), [&](const auto& model) { return model.name == arguments[1]; });
  if (found == models.end()) {
    std::fprintf(stderr, "no model \"%s\"\n", arguments[1]);
    return 2;
  }
  const c10::InferenceMode inference;
  const at::Device gpu{at::kCUDA, 0};
  const auto dtype = parse_dtype(arguments[2]);
  const int64_t batch = std::stoll(arguments[3]), size = found->config.sample_size->first;
  const auto model = UNet2DModel::random(found->config, at::detail::createCPUGenerator(1), {})->to({gpu, dtype});
  const auto x = at::randn({batch, 3, size, size}, at::detail::createCPUGenerator(1)).to(gpu, dtype).contiguous(at::MemoryFormat::ChannelsLast);
  const auto t = at::full({batch}, 500, at::device(gpu).dtype(at::kLong));
  const cuda::MeasuredAlgorithms measured;
  if (count > 5) at::globalContext().setBenchmarkLimitCuDNN(std::stoi(arguments[5]));
  const auto started = bench::Clock::now();
  for (int i = 0; i < 10; ++i) model->forward_by_launches(x, t);
  cuda::synchronize(gpu);
  const double ready = 1e-3 * bench::milliseconds_since(started);
  const auto kernels = kernels_of([&] {
    model->forward_by_launches(x, t);
    cuda::synchronize(gpu);
  });
  std::printf("%s %s batch %lld, ready after %.1f s\n", arguments[1], arguments[2], static_cast<long long>(batch), ready);
  print(kernels);
  if (count > 4) {
    std::ofstream file(arguments[4]);
    for (const auto& kernel : kernels) file << kernel.microseconds << "\t" << kernel.name << "\n";
  }
  return 0;
}
