#include <ATen/Functions.h>
#include <ATen/Parallel.h>
#include <c10/core/InferenceMode.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <vector>

#include "kernels/fused_ops.h"
#include "kernels/fused_step.h"

/// step_bench [THREADS] [SECONDS a case]: fused_step over 16×3×256×256 and 1×3×32×32, a timestep per sample, against a copy
/// by memcpy on the same cores and against torch's randn, in turn. GB/s count each stream once: x_t, the model's output, z
/// where it is given, x0 where it is wanted, x_s. Times are medians.

namespace {

using namespace nd;
using namespace nd::kernels;

double now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

struct Contender {
  const char* name;
  int streams;  // 0: no share of the copy's bandwidth is asked of it
  std::function<void()> run;
  std::vector<double> seconds = {};
};

double median(std::vector<double>& values) {
  std::nth_element(values.begin(), values.begin() + static_cast<int64_t>(values.size() / 2), values.end());
  return values[values.size() / 2];
}

void take_turns(std::vector<Contender>& contenders, double seconds) {
  for (const double begin = now(); now() - begin < seconds * static_cast<double>(contenders.size()) || contenders[0].seconds.size() < 5;) {
    for (Contender& contender : contenders) {
      contender.run();  // warms its caches
      const int calls = 4;
      const double started = now();
      for (int call = 0; call < calls; ++call) contender.run();
      contender.seconds.push_back((now() - started) / calls);
    }
  }
}

/// The same cores as fused_step's.
void copy(float* to, const float* from, int64_t numel) {
  constexpr int64_t kPart = 1 << 14;
  at::parallel_for(0, (numel + kPart - 1) / kPart, 1, [&](int64_t begin, int64_t end) {
    const int64_t last = std::min(end * kPart, numel);
    std::memcpy(to + begin * kPart, from + begin * kPart, static_cast<size_t>(last - begin * kPart) * sizeof(float));
  });
}

void measure(int64_t batch, int64_t side, double seconds) {
  const std::vector<int64_t> shape{batch, 3, side, side};
  const at::Tensor x = at::randn(shape), out = at::randn(shape), noise = at::randn(shape);
  const at::Tensor prev = at::zeros(shape), x0 = at::zeros(shape), drawn = at::zeros(shape);
  const int64_t numel = 3 * side * side;
  std::vector<PhiloxKey> keys(static_cast<size_t>(batch));
  for (size_t i = 0; i < keys.size(); ++i) keys[i] = {i, 1};

  enum Noise { none, given, philox };
  const auto step = [&](bool with_x0, Noise source) {
    std::vector<SampleStep> samples(static_cast<size_t>(batch));
    for (size_t i = 0; i < samples.size(); ++i) {
      const int64_t at = static_cast<int64_t>(i) * numel;
      const float share = static_cast<float>(i + 1) / static_cast<float>(batch + 1);
      samples[i] = {.row = {.p = 1, .q = -share, .d = 1 - share, .bound = 1, .c_x0 = 1 - share, .c_out = share, .sigma = share},
                    .x = x.const_data_ptr<float>() + at, .out = out.const_data_ptr<float>() + at, .variance = nullptr,
                    .noise = source == given ? noise.const_data_ptr<float>() + at : nullptr,
                    .philox = source == philox ? &keys[i] : nullptr,
                    .prev = prev.mutable_data_ptr<float>() + at, .x0 = with_x0 ? x0.mutable_data_ptr<float>() + at : nullptr};
    }
    return [samples, numel] { fused_step(samples.data(), static_cast<int64_t>(samples.size()), numel); };
  };
  const auto with_noise = step(false, given);
  std::vector<Contender> contenders{
      {"copy", 2, [&] { copy(prev.mutable_data_ptr<float>(), x.const_data_ptr<float>(), batch * numel); }},
      {"step", 3, step(false, none)},
      {"step, x0 too", 4, step(true, none)},
      {"step, z given", 4, with_noise},
      {"step, Philox", 3, step(false, philox)},
      {"step, Philox, x0 too", 4, step(true, philox)},
      {"Philox's normals", 1, [&] { philox_normal(drawn.mutable_data_ptr<float>(), batch * numel, keys[0]); }},
      {"torch's randn", 0, [&] { noise.normal_(); }},
      {"torch's randn and step", 0, [&] { noise.normal_(), with_noise(); }},
  };
  take_turns(contenders, seconds);

  std::printf("%ld×3×%ld×%ld\n", batch, side, side);
  const double bytes = static_cast<double>(batch * numel) * sizeof(float);
  const double copied = 2 * bytes / median(contenders[0].seconds);
  for (Contender& contender : contenders) {
    const double time = median(contender.seconds), rate = contender.streams * bytes / time;
    std::printf("%-24s %9.1f µs", contender.name, time * 1e6);
    if (contender.streams > 0) std::printf("  %6.1f GB/s  %4.0f %% of copy", rate * 1e-9, 100 * rate / copied);
    std::printf("\n");
  }
  std::printf("\n");
}

}  // namespace

int main(int argc, char** argv) {
  c10::InferenceMode inference;
  at::set_num_threads(argc > 1 ? std::atoi(argv[1]) : at::get_num_threads());
  const double seconds = argc > 2 ? std::atof(argv[2]) : 1.0;
  std::printf("%d threads\n\n", at::get_num_threads());
  measure(16, 256, seconds);
  measure(1, 32, seconds);
}
