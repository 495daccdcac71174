// UNets and the engine on a GPU: gpu_bench [JSON] [SECONDS in all=240] [SECONDS a measurement=0.6]
// Random weights in the topologies of google/ddpm-cifar10-32 and google/ddpm-church-256. A forward by libtorch's launches, one
// as UNet2DModel's graph and a step as the engine's, then DDIM with 50 steps through the engine. Medians, warm-up left out. What the time does not
// reach is said to be left out; the JSON is written after each result. Exit status 77 without a GPU, 1 where a part failed.

#include "bench.h"
#include "gpu_models.h"

#include "core/device.h"
#include "core/engine/draws.h"
#include "core/engine/sampler_engine.h"
#include "kernels/cuda_convolutions.h"
#include "kernels/cuda_ops.h"

#include <ATen/ATen.h>
#include <ATen/CPUGeneratorImpl.h>
#include <ATen/Context.h>
#include <c10/core/InferenceMode.h>

#include <condition_variable>
#include <cstdio>
#include <functional>
#include <mutex>
#include <thread>

namespace {

using namespace nd;
using namespace nd::bench;
using Json = nlohmann::json;

const at::Device kGpu{at::kCUDA, 0};

/// An H100 SXM's by its datasheet: dense tensor cores; float32 without TF32.
constexpr double kHalfPeak = 989e12, kFloatPeak = 67e12;

double peak_of(at::ScalarType dtype) { return dtype == at::kFloat ? kFloatPeak : kHalfPeak; }

/// The results so far, on paper and in a file.
class Report {
 public:
  Report(std::string file, double seconds) : file_(std::move(file)), seconds_(seconds) {}
  bool late() const { return milliseconds_since(start_) > 1e3 * seconds_; }
  Json& operator[](const char* key) { return json_[key]; }
  void add(const char* key, Json entry) {
    json_[key].push_back(std::move(entry));
    save();
  }
  /// Whether something was left out for another reason than time.
  bool failed() const { return failed_; }
  void no_time(const std::string& what) { left_out(what, "no time"); }
  void fail(const std::string& what, const std::exception& why) {
    failed_ = true;
    left_out(what, why.what());
  }

 private:
  void left_out(const std::string& what, const std::string& why) {
    std::printf("%-28s left out: %s\n", what.c_str(), why.c_str());
    add("leftOut", {{"what", what}, {"why", why}});
  }

  void save() const {
    std::fflush(stdout);
    if (!file_.empty()) std::ofstream(file_) << json_.dump(2) << "\n";
  }
  std::string file_;
  double seconds_;
  Clock::time_point start_ = Clock::now();
  Json json_;
  bool failed_ = false;
};

/// Milliseconds on the device, waits for launches among them.
double milliseconds_of(const std::function<void()>& work, double seconds) {
  for (int i = 0; i < 4; ++i) work();
  cuda::synchronize(kGpu);
  std::vector<double> times;
  cuda::Mark begin(kGpu), end(kGpu);
  for (const auto start = Clock::now(); milliseconds_since(start) < 1e3 * seconds || times.size() < 5;) {
    begin.record();
    work();
    end.record();
    end.wait();
    times.push_back(1e3 * end.seconds_since(begin));
  }
  return median(times);
}

struct Forwards {
  double launched;  // launch by launch
  double graph;     // as a caller of UNet2DModel has it: a graph from the third run on, its inputs and output copied
};

Forwards forward_milliseconds(const UNet2DModel& model, int64_t batch, double seconds) {
  const auto size = model.config().sample_size->first;
  const auto x = at::randn({batch, 3, size, size}, at::detail::createCPUGenerator(1))
                     .to(kGpu, model.target().dtype)
                     .contiguous(at::MemoryFormat::ChannelsLast);
  const auto t = at::full({batch}, 500, at::device(kGpu).dtype(at::kLong));
  const auto launch = [&] {
    const cuda::MeasuredAlgorithms measured;
    model.forward_by_launches(x, t);
  };
  return {milliseconds_of(launch, seconds), milliseconds_of([&] { model.forward(x, t); }, seconds)};
}

struct Replayed {
  double first_seconds;  // the runs before the graph: cuDNN measures its ways, and the capture
  double milliseconds;   // a step, on the device
  bool is_graph;
};

/// A step of the engine's: gather, UNet, fused step. Of real requests, since a GPU multiplies zeros faster.
Replayed step_milliseconds(const Denoiser& denoiser, SampleShape shape, int64_t batch, double seconds) {
  DeviceRunner runner(denoiser);
  const std::shared_ptr<NoiseScheduler> scheduler = make_scheduler(SchedulerKind::ddpm, {});
  scheduler->set_timesteps(1000);
  const auto plan = make_plan(scheduler, {});
  std::vector<std::unique_ptr<RunningRequest>> requests;
  std::vector<RunningRequest*> all;
  for (int64_t i = 0; i < batch; ++i) {
    SampleRequest asked{.plan = plan, .shape = shape};
    asked.philox_seed = static_cast<uint64_t>(i);
    requests.push_back(std::make_unique<RunningRequest>(RunningRequest{static_cast<uint64_t>(i), std::move(asked), EngineClock::now()}));
    begin(*requests.back(), denoiser.target());
    all.push_back(requests.back().get());
  }
  const auto start = Clock::now();
  for (int i = 0; i < 3; ++i) runner.run(all);
  cuda::synchronize(kGpu);
  const double first = 1e-3 * milliseconds_since(start);
  std::vector<double> times;
  for (const auto begun = Clock::now(); (milliseconds_since(begun) < 1e3 * seconds || times.size() < 8) && !all.front()->done();) {
    const auto took = runner.run(all);  // of the one before
    if (took) times.push_back(1e3 * took->seconds);
  }
  if (runner.graphs() != 1) std::printf("no graph: %s\n", runner.capture_failure().c_str());
  return {first, median(std::vector(times.begin() + 2, times.end())), runner.graphs() == 1};
}

void bench_forward(Report& report, const BenchModel& bench, const std::shared_ptr<const UNet2DModel>& model, double flop,
                   int64_t batch, double seconds, bool libraries_alone = false) {
  const auto dtype = model->target().dtype;
  const auto name = bench.name + " " + dtype_name(dtype) + " batch " + std::to_string(batch) + (libraries_alone ? " *" : "");
  if (report.late()) return report.no_time(name);
  try {
    const auto size = bench.config.sample_size->first;
    const auto step = step_milliseconds(*make_denoiser(model), {3, size, size}, batch, seconds);  // first: it sets all up
    const auto forward = forward_milliseconds(*model, batch, seconds);
    const double rate = flop * static_cast<double>(batch) / (1e-3 * step.milliseconds);
    std::printf("%-28s %9.3f %9.3f %9.3f%s %8.1f %6.1f %% %8.1f\n", name.c_str(), forward.launched, forward.graph,
                step.milliseconds, step.is_graph ? " " : "!", rate / 1e12, 100 * rate / peak_of(dtype), step.first_seconds);
    report.add("forwards", {{"model", bench.name}, {"dtype", dtype_name(dtype)}, {"batch", batch},
                            {"launchedMilliseconds", forward.launched}, {"forwardMilliseconds", forward.graph},
                            {"stepMilliseconds", step.milliseconds}, {"isGraph", step.is_graph}, {"teraflops", rate / 1e12},
                            {"shareOfPeak", rate / peak_of(dtype)}, {"firstSeconds", step.first_seconds},
                            {"librariesAlone", libraries_alone}});
  } catch (const std::exception& e) {
    report.fail(name, e);
  }
}

/// Counts the requests that have ended.
class Ended {
 public:
  SamplerEngine::Listener listener() {
    return [this](const std::vector<EngineEvent>& events) {
      const std::lock_guard lock(mutex_);
      for (const auto& event : events) {
        left_ -= event.kind == EngineEvent::Kind::done || event.kind == EngineEvent::Kind::failed || event.kind == EngineEvent::Kind::warmed;
        if (event.error) error_ = event.error;
        if (event.kind == EngineEvent::Kind::warmed) warmed_ = Clock::now();
      }
      changed_.notify_all();
    };
  }
  void expect(int64_t count) {
    const std::lock_guard lock(mutex_);
    left_ = count;
  }
  /// Milliseconds since the warm-up ended.
  double wait() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return left_ <= 0; });
    if (error_) std::rethrow_exception(error_);
    return milliseconds_since(warmed_);
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  int64_t left_ = 0;
  Clock::time_point warmed_;
  std::exception_ptr error_;
};

/// A round is so many batches' requests, all handed in at once: at its beginning nothing runs yet, and at its end nothing is left.
struct Rounds {
  int64_t batches;
  int count;  // the first is warm-up
};

void bench_engine(Report& report, const std::shared_ptr<const UNet2DModel>& model, int64_t max_batch, bool philox, Rounds asked) {
  const auto name = "DDIM-50, " + std::to_string(asked.batches) + " x " + std::to_string(max_batch) +
                    (philox ? ", eta 0, Philox" : ", eta 1, CPU generators");
  if (report.late()) return report.no_time(name);
  try {
    Ended ended;
    SamplerEngine engine(make_denoiser(model), {.max_batch = max_batch, .max_queue = 1 << 14}, ended.listener());
    const SampleShape shape{3, 32, 32};
    const std::shared_ptr<NoiseScheduler> scheduler = make_scheduler(SchedulerKind::ddim, {});
    scheduler->set_timesteps(50);
    const auto plan = make_plan(scheduler, {.eta = philox ? 0.0 : 1.0});
    const int64_t images = asked.batches * max_batch;
    std::vector<double> rates, shares;
    for (int round = 0; round < asked.count; ++round) {
      std::vector<SampleRequest> requests;
      for (int64_t i = 0; i < images; ++i) {
        requests.push_back({.plan = plan, .shape = shape});
        if (philox) requests.back().philox_seed = static_cast<uint64_t>(i);
        else requests.back().generator = at::detail::createCPUGenerator(static_cast<uint64_t>(i));
      }
      const auto before = engine.stats();
      ended.expect(images + 1);
      // While it warms up they all come in: every batch is full, and of no other size cuDNN's ways must be measured.
      engine.warm_up(shape, {max_batch});
      std::this_thread::sleep_for(std::chrono::microseconds(500));  // it has begun
      for (auto& request : requests) engine.submit(std::move(request));
      const double milliseconds = ended.wait();
      if (round == 0) continue;
      const auto after = engine.stats();
      const double busy = after.busy_seconds - before.busy_seconds, device = after.unet_seconds - before.unet_seconds;
      rates.push_back(1e3 * static_cast<double>(images) / milliseconds);
      shares.push_back((busy - device) / busy);
    }
    std::printf("%-44s %8.1f images/s, %5.2f %% of the loop beyond the device\n", name.c_str(), median(rates), 100 * median(shares));
    report.add("engine", {{"maxBatch", max_batch}, {"batches", asked.batches}, {"eta", philox ? 0 : 1}, {"noise", philox ? "philox" : "cpu generators"},
                          {"images", images}, {"imagesPerSecond", median(rates)}, {"rounds", rates}, {"shareBeyondDevice", median(shares)}});
  } catch (const std::exception& e) {
    report.fail(name, e);
  }
}

}  // namespace

int main(int count, char** arguments) {
  Report report(count > 1 ? arguments[1] : "", count > 2 ? std::stod(arguments[2]) : 240);
  const double seconds = count > 3 ? std::stod(arguments[3]) : 0.6;
  const c10::InferenceMode inference;
  bool heading = true;
  const auto models = bench_models();
  std::vector<std::shared_ptr<const UNet2DModel>> on_cpu;
  std::vector<double> flop;
  for (const auto& bench : models) {
    on_cpu.push_back(UNet2DModel::random(bench.config, at::detail::createCPUGenerator(1), {}));
    flop.push_back(operations(*on_cpu.back()));
    const double millions = 1e-6 * static_cast<double>(on_cpu.back()->parameter_count());
    std::printf("%s: %.3fM parameters, %.2f GFLOP a sample\n", bench.name.c_str(), millions, flop.back() / 1e9);
    if (std::abs(millions - bench.millions) > 0.001) {
      std::fprintf(stderr, "%s has %.3fM parameters where it was published\n", bench.name.c_str(), bench.millions);
      return 1;
    }
    report["models"].push_back({{"name", bench.name}, {"parameters", on_cpu.back()->parameter_count()}, {"operations", flop.back()}});
  }
  if (!at::hasCUDA()) {
    std::printf("no CUDA device\n");
    return 77;
  }
  for (const auto dtype : {at::kBFloat16, at::kHalf, at::kFloat}) {
    for (size_t i = 0; i < models.size(); ++i) {
      if (std::exchange(heading, false)) {
        std::printf("%-28s %9s %9s %9s  %8s %8s %8s\n", "", "launches", "forward", "step ms", "TFLOP/s", "of peak", "first s");
      }
      const auto model = on_cpu[i]->to({kGpu, dtype});
      for (const auto batch : models[i].batches) {
        const bool is_skipped = batch > 512 && dtype != at::kBFloat16;  // the largest takes long: of one dtype it is enough
        if (!is_skipped) bench_forward(report, models[i], model, flop[i], batch, seconds);
      }
      if (i > 0 || dtype != at::kBFloat16) continue;
      {
        // *: convolutions by the libraries' kernels alone, in a model that knows no others.
        const cuda::LibrariesAlone libraries;
        const auto other = on_cpu[i]->to({kGpu, dtype});
        for (const int64_t batch : {1, 8, 64}) bench_forward(report, models[i], other, flop[i], batch, seconds, true);
      }
      for (const bool philox : {true, false}) {
        bench_engine(report, model, 256, philox, {2, 4});
        bench_engine(report, model, 512, philox, {2, 4});
        bench_engine(report, model, 64, philox, {4, 4});
      }
      bench_engine(report, model, 1024, /*philox=*/true, {2, 3});
      bench_engine(report, model, 256, /*philox=*/false, {8, 3});  // a round's ends weigh less
    }
  }
  return report.failed() ? 1 : 0;
}
