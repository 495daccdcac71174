// The engine's loop without Node: engine_loop_bench FOLDER [SECONDS a batch size=2]
// FOLDER holds config.json and diffusion_pytorch_model.safetensors. For batches of 1, 2, 4 and 8 requests, all handed in at
// once, again and again: microseconds a step beside the UNet, by what a batch's requests are asked for. Medians of rounds
// that take turns, and the least.

#include "bench.h"

#include "core/device.h"
#include "core/engine/sampler_engine.h"
#include "core/schedulers/noise_scheduler.h"

#include <ATen/CPUGeneratorImpl.h>

#include <condition_variable>
#include <cstdio>
#include <mutex>

namespace {

using namespace nd;
using namespace nd::bench;

constexpr int64_t kSteps = 20;

/// Counts the requests that have ended.
class Ended {
 public:
  SamplerEngine::Listener listener() {
    return [this](const std::vector<EngineEvent>& events) {
      const std::lock_guard lock(mutex_);
      for (const auto& event : events) left_ -= event.kind == EngineEvent::Kind::done ? 1 : 0;
      if (left_ == 0) changed_.notify_all();
    };
  }
  void expect(int64_t count) { left_ = count; }
  void wait() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return left_ == 0; });
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  int64_t left_ = 0;
};

struct Case {
  const char* name;
  double eta;
  bool philox;
  std::vector<double> microseconds = {}, share = {};
};

struct Loop {
  SamplerEngine& engine;
  Ended& ended;
  SampleShape shape;

  /// A batch of requests from the first step to the last; what a step took beside the UNet.
  void run(int64_t batch, Case& of) const {
    const std::shared_ptr<NoiseScheduler> scheduler = make_scheduler(SchedulerKind::ddim, {});
    scheduler->set_timesteps(kSteps);
    const auto plan = make_plan(scheduler, {.eta = of.eta});
    const auto before = engine.stats();
    ended.expect(batch);
    for (int64_t i = 0; i < batch; ++i) {
      SampleRequest request{.plan = plan, .shape = shape};
      if (of.philox) {
        request.philox_seed = static_cast<uint64_t>(i);
      } else {
        request.generator = at::detail::createCPUGenerator(static_cast<uint64_t>(i));
      }
      engine.submit(std::move(request));
    }
    ended.wait();
    engine.drain();
    const auto after = engine.stats();
    const double busy = after.busy_seconds - before.busy_seconds, unet = after.unet_seconds - before.unet_seconds;
    of.microseconds.push_back(1e6 * (busy - unet) / static_cast<double>(after.steps - before.steps));
    of.share.push_back(100 * (busy - unet) / busy);
  }
};

}  // namespace

int main(int count, char** arguments) {
  if (count < 2) {
    std::fprintf(stderr, "engine_loop_bench FOLDER [SECONDS a batch size=2]\n");
    return 2;
  }
  const std::string folder = arguments[1];
  const double seconds = count > 2 ? std::stod(arguments[2]) : 2;
  const auto config = read_config(folder);
  const auto model = UNet2DModel::load(config, open_checkpoint(weights_file(folder)), {});
  Ended ended;
  SamplerEngine engine(make_denoiser(model), {}, ended.listener());
  const Loop loop{engine, ended, {config.in_channels, config.sample_size->first, config.sample_size->second}};

  std::printf("beside the UNet, µs a step: median (least), share of the loop's time\n");
  for (const int64_t batch : {1, 2, 4, 8}) {
    std::vector<Case> cases{{"eta 0", 0, false}, {"eta 1, torch's noise", 1, false}, {"eta 1, Philox", 1, true}};
    for (const auto start = Clock::now(); milliseconds_since(start) < 1000 * seconds || cases[0].share.size() < 5;) {
      for (auto& one : cases) loop.run(batch, one);
    }
    for (const auto& one : cases) {
      std::printf("batch %ld  %-22s %6.1f (%.1f)  %.2f %%\n", batch, one.name, median(one.microseconds),
                  *std::min_element(one.microseconds.begin(), one.microseconds.end()), median(one.share));
    }
  }
}
