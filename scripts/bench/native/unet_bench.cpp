// One forward of a UNet without Node: unet_bench FOLDER [BATCH=1] [DTYPE=float32] [SECONDS=3]
// FOLDER holds config.json and diffusion_pytorch_model.safetensors. Prints the time of loading, median and quartiles of a
// forward, and libtorch's operators by their own time; what is not theirs is our kernels'.

#include "bench.h"

#include "core/device.h"
#include "core/unet/unet2d_model.h"

#include <ATen/ATen.h>
#include <ATen/record_function.h>

#include <cstdio>
#include <map>

namespace {

using namespace nd::bench;

/// An operator under way, and the time of those that it called.
struct Running : at::ObserverContext {
  Clock::time_point start = Clock::now();
  double inner = 0;
  Running* outer = nullptr;
};

struct Operator {
  double milliseconds = 0;
  int calls = 0;
};

std::map<std::string, Operator> operators;
thread_local Running* running = nullptr;

std::unique_ptr<at::ObserverContext> enter(const at::RecordFunction&) {
  auto entered = std::make_unique<Running>();
  entered->outer = running;
  running = entered.get();
  return entered;
}

void leave(const at::RecordFunction& function, at::ObserverContext* context) {
  auto* left = static_cast<Running*>(context);
  const auto whole = milliseconds_since(left->start);
  auto& entry = operators[function.name()];
  entry.milliseconds += whole - left->inner;
  ++entry.calls;
  running = left->outer;
  if (running) running->inner += whole;
}

void print_profile(const nd::UNet2DModel& model, const at::Tensor& sample, const at::Tensor& timesteps) {
  constexpr int rounds = 5;
  at::addGlobalCallback(at::RecordFunctionCallback(enter, leave));
  const auto start = Clock::now();
  for (int i = 0; i < rounds; ++i) model.forward(sample, timesteps);
  const auto whole = milliseconds_since(start) / rounds;
  at::clearCallbacks();

  std::vector<std::pair<std::string, Operator>> by_time(operators.begin(), operators.end());
  std::sort(by_time.begin(), by_time.end(),
            [](const auto& a, const auto& b) { return a.second.milliseconds > b.second.milliseconds; });
  double theirs = 0;
  for (const auto& [name, entry] : by_time) theirs += entry.milliseconds / rounds;
  std::printf("%8.2f ms while recording, of which our kernels and all else %.2f\n", whole, whole - theirs);
  constexpr size_t shown = 8;
  for (size_t i = 0; i < std::min(shown, by_time.size()); ++i) {
    const auto& [name, entry] = by_time[i];
    std::printf("%8.2f ms %4d x %s\n", entry.milliseconds / rounds, entry.calls / rounds, name.c_str());
  }
}

}  // namespace

int main(int count, char** arguments) {
  if (count < 2) {
    std::fprintf(stderr, "unet_bench FOLDER [BATCH=1] [DTYPE=float32] [SECONDS=3]\n");
    return 2;
  }
  const std::string folder = arguments[1];
  const int64_t batch = count > 2 ? std::stoll(arguments[2]) : 1;
  const auto dtype = nd::parse_dtype(count > 3 ? arguments[3] : "float32");
  const double seconds = count > 4 ? std::stod(arguments[4]) : 3;

  const auto config = read_config(folder);
  const auto start = Clock::now();
  const auto model = nd::UNet2DModel::load(
      config, nd::open_checkpoint(weights_file(folder)), {at::kCPU, dtype});
  std::printf("%8.2f ms to load %lld parameters\n", milliseconds_since(start),
              static_cast<long long>(model->parameter_count()));

  const auto [height, width] = config.sample_size.value_or(std::pair<int64_t, int64_t>{32, 32});
  const auto sample = at::randn({batch, config.in_channels, height, width});
  const auto timesteps = at::full({batch}, 500, at::kLong);
  for (int i = 0; i < 2; ++i) model->forward(sample, timesteps);
  std::vector<double> times;
  for (const auto begin = Clock::now(); milliseconds_since(begin) < seconds * 1e3;) {
    const auto one = Clock::now();
    model->forward(sample, timesteps);
    times.push_back(milliseconds_since(one));
  }
  std::printf("%8.2f ms a forward of batch %lld in %s (quartiles %.2f … %.2f, %zu calls)\n", median(times),
              static_cast<long long>(batch), nd::dtype_name(dtype).c_str(), quantile(times, 0.25),
              quantile(times, 0.75), times.size());
  print_profile(*model, sample, timesteps);
}
