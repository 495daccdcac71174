#include <ATen/ATen.h>
#include <c10/core/GeneratorImpl.h>
#include <c10/cuda/CUDACachingAllocator.h>

#include <thread>

#include "gpu/gpu_helpers.h"

using namespace nd;
using namespace nd::test;

namespace {

/// A generator of a device that no tensor here is on: drawing from it throws.
struct ForeignGenerator final : c10::GeneratorImpl {
  ForeignGenerator() : GeneratorImpl(at::Device(at::kXPU, 0), c10::DispatchKeySet(c10::DispatchKey::XPU)) {}
  void set_current_seed(uint64_t) override {}
  void set_offset(uint64_t) override {}
  uint64_t get_offset() const override { return 0; }
  uint64_t current_seed() const override { return 0; }
  uint64_t seed() override { return 0; }
  void set_state(const c10::TensorImpl&) override {}
  c10::intrusive_ptr<c10::TensorImpl> get_state() const override { return {}; }
  ForeignGenerator* clone_impl() const override { return new ForeignGenerator; }
};

/// Does what it is told to before the formula.
class Obedient final : public FormulaOnGpu {
 public:
  explicit Obedient(std::function<void(const at::Tensor& x)> order) : order_(std::move(order)) {}
  at::Tensor on_device(const at::Tensor& x, const at::Tensor& timesteps, const at::Tensor& labels) const override {
    order_(x);
    return FormulaOnGpu::on_device(x, timesteps, labels);
  }

 private:
  std::function<void(const at::Tensor&)> order_;
};

/// As Asked's x_T and noise give it there.
at::Tensor alone_on_gpu(const Asked& asked) {
  std::vector<SampleRequest> one;
  one.push_back(request_of(asked));
  return ends_of(std::make_unique<FormulaOnGpu>(), std::move(one), 1).front().output;
}

TEST("a request whose noise fails is the only one that fails") {
  Listener listener;
  SamplerEngine engine(std::make_unique<FormulaOnGpu>(), {}, listener.function());
  const Asked asked{.kind = SchedulerKind::ddpm, .steps = 6, .seed = 3, .shape = kImage};
  auto wrong = request_of(asked);
  wrong.start = at::zeros({1, 3, 16, 16});
  wrong.generator = at::Generator(c10::make_intrusive<ForeignGenerator>());
  const auto before = engine.submit(request_of(asked)), bad = engine.submit(std::move(wrong)), after = engine.submit(request_of(asked));
  EXPECT(failure_of(listener.end_of(bad)) == ErrorCode::device);
  for (const auto id : {before, after}) EXPECT(at::equal(listener.end_of(id).output, alone_on_gpu(asked)));
}

TEST("a request that can't begin is the only one that fails") {
  Listener listener;
  SamplerEngine engine(std::make_unique<FormulaOnGpu>(), {}, listener.function());
  auto wrong = request_of({.shape = kImage});
  wrong.image = at::zeros({1, 3, 8, 8});
  const auto bad = engine.submit(std::move(wrong)), good = engine.submit(request_of({.seed = 4, .shape = kImage}));
  EXPECT(failure_of(listener.end_of(bad)) == ErrorCode::shape);
  EXPECT(at::equal(listener.end_of(good).output, alone_on_gpu({.seed = 4, .shape = kImage})));
}

TEST("a model that throws fails its batch alone, before and after the others' work is a graph") {
  const auto is_wide = [](const at::Tensor& x) {
    if (x.size(3) == kWide[2]) throw std::runtime_error("too wide");
  };
  Listener listener;
  SamplerEngine engine(std::make_unique<Obedient>(is_wide), {}, listener.function());
  for (int turn = 0; turn < 3; ++turn) {
    const auto good = engine.submit(request_of({.seed = 4, .shape = kImage})), bad = engine.submit(request_of({.shape = kWide}));
    EXPECT_EQUAL(message_of(listener.end_of(bad)), std::string("too wide"));
    EXPECT(at::equal(listener.end_of(good).output, alone_on_gpu({.seed = 4, .shape = kImage})));
  }
}

TEST("a model whose output has another shape is refused, and nothing is read past its end") {
  class Narrow final : public FormulaOnGpu {
   public:
    at::Tensor on_device(const at::Tensor& x, const at::Tensor& timesteps, const at::Tensor& labels) const override {
      return FormulaOnGpu::on_device(x, timesteps, labels).narrow(1, 0, 1);
    }
  };
  std::vector<SampleRequest> requests;
  requests.push_back(request_of({.shape = kImage}));
  EXPECT(failure_of(ends_of(std::make_unique<Narrow>(), std::move(requests), 1).front()) == ErrorCode::shape);
}

TEST("a learned variance that the UNet does not give fails its request alone") {
  const auto models = model_pair();
  SchedulerConfig config;
  config.variance_type = VarianceType::learned_range;
  const std::shared_ptr<NoiseScheduler> scheduler = make_scheduler(SchedulerKind::ddpm, config);
  scheduler->set_timesteps(5);
  std::vector<SampleRequest> requests;
  for (int i = 0; i < 2; ++i) requests.push_back(request_of({.shape = kImage}));
  requests[0].plan = make_plan(scheduler, {});
  const auto ends = ends_of(make_denoiser(models.gpu), std::move(requests), 2);
  EXPECT(failure_of(ends[0]) == ErrorCode::shape);
  EXPECT(ends[1].kind == EngineEvent::Kind::done);
}

TEST("work that can't be captured goes on as it went, and the next shape's is captured all the same") {
  // Looking at a number waits for the device, which a capture forbids.
  const auto look = [](const at::Tensor& x) {
    if (x.size(3) == kImage[2]) x.sum().item<float>();
  };
  Listener listener;
  SamplerEngine engine(std::make_unique<Obedient>(look), {}, listener.function());
  for (int turn = 0; turn < 2; ++turn) {
    for (const auto& shape : {kImage, kWide}) {
      const Asked asked{.kind = SchedulerKind::ddpm, .steps = 8, .seed = 4, .philox = true, .shape = shape};
      EXPECT(at::equal(listener.end_of(engine.submit(request_of(asked))).output, alone_on_gpu(asked)));
    }
  }
  // The generator of the device is as it was: a capture that failed must not leave it in the midst of one.
  EXPECT(at::randn({4}, at::device(kGpu)).isfinite().all().item<bool>());
}

TEST("out of memory fails that request with libtorch's error, and the engine works on") {
  const auto greedy = [](const at::Tensor& x) {
    if (x.size(3) == kWide[2]) at::empty({int64_t{1} << 42}, x.options().dtype(at::kByte));
  };
  Listener listener;
  SamplerEngine engine(std::make_unique<Obedient>(greedy), {}, listener.function());
  for (int turn = 0; turn < 2; ++turn) {
    const auto event = listener.end_of(engine.submit(request_of({.shape = kWide})));
    EXPECT(event.kind == EngineEvent::Kind::failed);
    bool out_of_memory = false;
    try {
      std::rethrow_exception(event.error);
    } catch (const c10::OutOfMemoryError&) {
      out_of_memory = true;
    }
    EXPECT(out_of_memory);
    EXPECT(at::equal(listener.end_of(engine.submit(request_of({.seed = 4, .shape = kImage}))).output,
                     alone_on_gpu({.seed = 4, .shape = kImage})));
  }
}

TEST("graphs give their memory back where a batch wants it; where that is not enough, batches get smaller") {
  constexpr int64_t kGiB = int64_t{1} << 30;
  /// This process's memory there: what it has, and 2 GiB.
  class Limit {
   public:
    Limit() {
      size_t free = 0, all = 0;
      EXPECT(cudaMemGetInfo(&free, &all) == cudaSuccess);
      const auto stats = c10::cuda::CUDACachingAllocator::getDeviceStats(kGpu.index());
      const auto reserved = stats.reserved_bytes[0].current;  // of all pools
      set(static_cast<double>(reserved + 2 * kGiB) / static_cast<double>(all));
    }
    ~Limit() { set(1); }

   private:
    static void set(double fraction) { c10::cuda::CUDACachingAllocator::setMemoryFraction(fraction, kGpu.index()); }
  };
  class Hungry final : public FormulaOnGpu {
   public:
    at::Tensor on_device(const at::Tensor& x, const at::Tensor& timesteps, const at::Tensor& labels) const override {
      // Two are possible; one beside the graph of two is not.
      const auto held = at::empty({x.size(0), kGiB * 4 / 5}, x.options().dtype(at::kByte));
      return FormulaOnGpu::on_device(x, timesteps, labels);
    }
  };
  const auto asked_for = [](uint64_t seed) {
    return Asked{.kind = SchedulerKind::ddpm, .steps = 5 + 5 * static_cast<int64_t>(seed), .seed = seed, .shape = kImage};
  };
  std::vector<at::Tensor> wanted;
  for (uint64_t seed = 0; seed < 5; ++seed) wanted.push_back(alone_on_gpu(asked_for(seed)));
  const Limit limit;
  Listener listener;
  SamplerEngine engine(std::make_unique<Hungry>(), {.max_batch = 8}, listener.function());
  std::vector<uint64_t> ids;
  for (uint64_t seed = 0; seed < 5; ++seed) ids.push_back(engine.submit(request_of(asked_for(seed))));
  for (uint64_t seed = 0; seed < 5; ++seed) {
    const auto event = listener.end_of(ids[seed]);
    EXPECT_EQUAL(message_of(event), std::string());
    EXPECT(at::equal(event.output, wanted[seed]));
  }
  EXPECT(engine.stats().batch_limit <= 2);
}

TEST("an absurd batch is out of memory, and the model works afterwards") {
  const auto models = model_pair();
  const int64_t absurd = int64_t{1} << 29;
  const auto x = at::randn({1, 3, 16, 16}, seeded(1)).to(kGpu);
  const auto t = at::zeros({1}, at::device(kGpu).dtype(at::kLong));
  bool thrown = false;
  try {
    models.gpu->forward(x.expand({absurd, 3, 16, 16}), t.expand({absurd}));
  } catch (const c10::OutOfMemoryError&) {
    thrown = true;
  }
  EXPECT(thrown);
  EXPECT(models.gpu->forward(x, t).isfinite().all().item<bool>());
}

TEST("cancelled while the device has its step: it ends, and the others are right") {
  Listener listener;
  SamplerEngine engine(std::make_unique<FormulaOnGpu>(), {.max_batch = 4}, listener.function());
  std::vector<uint64_t> ids;
  for (uint64_t seed = 0; seed < 4; ++seed) {
    auto request = request_of({.kind = SchedulerKind::ddpm, .steps = seed % 2 ? 1000 : 300, .seed = seed, .philox = true, .shape = kImage});
    request.reports_steps = seed == 1;
    ids.push_back(engine.submit(std::move(request)));
  }
  while (listener.steps_of(ids[1]).size() < 5) std::this_thread::sleep_for(milliseconds(1));
  engine.cancel(ids[1]);
  engine.cancel(ids[3]);
  for (const auto i : {1, 3}) EXPECT(failure_of(listener.end_of(ids[i])) == ErrorCode::aborted);
  for (const uint64_t i : {0, 2}) {
    EXPECT(at::equal(listener.end_of(ids[i]).output,
                     alone_on_gpu({.kind = SchedulerKind::ddpm, .steps = 300, .seed = i, .philox = true, .shape = kImage})));
  }
}

TEST("cancelled whenever: each ends once, done or aborted, also while its last step is under way") {
  Listener listener;
  SamplerEngine engine(std::make_unique<FormulaOnGpu>(), {.max_batch = 4}, listener.function());
  const auto steady = engine.submit(request_of({.kind = SchedulerKind::ddpm, .steps = 1000, .seed = 9, .philox = true, .shape = kImage}));
  for (uint64_t turn = 0; turn < 200; ++turn) {
    const auto id = engine.submit(request_of({.kind = SchedulerKind::ddim, .steps = 1, .seed = turn, .philox = true, .shape = kImage}));
    std::this_thread::sleep_for(std::chrono::microseconds(20 * (turn % 40)));
    engine.cancel(id);
    const auto end = listener.end_of(id);
    EXPECT(end.kind == EngineEvent::Kind::done || failure_of(end) == ErrorCode::aborted);
  }
  engine.cancel(steady);
  EXPECT(failure_of(listener.end_of(steady)) == ErrorCode::aborted);
  engine.drain();
  EXPECT_EQUAL(engine.stats().running + engine.stats().queued, int64_t{0});
}

TEST("close while busy ends everything with ERR_CLOSED, many times over") {
  for (int turn = 0; turn < 5; ++turn) {
    Listener listener;
    SamplerEngine engine(std::make_unique<FormulaOnGpu>(), {.max_batch = 4}, listener.function());
    std::vector<uint64_t> ids;
    for (uint64_t seed = 0; seed < 6; ++seed) {
      auto request = request_of({.kind = SchedulerKind::ddpm, .steps = 1000, .seed = seed, .shape = kImage});
      request.reports_steps = seed == 0;
      ids.push_back(engine.submit(std::move(request)));
    }
    while (listener.steps_of(ids[0]).size() < 3) std::this_thread::sleep_for(milliseconds(1));
    engine.close();
    for (const auto id : ids) EXPECT(failure_of(listener.end_of(id)) == ErrorCode::closed);
  }
}

TEST("many engines one after the other, each right: more than libtorch's pool has streams") {
  const Asked asked{.kind = SchedulerKind::ddpm, .steps = 5, .seed = 2, .shape = kImage};
  const auto expected = alone_on_gpu(asked);
  Listener listener;
  SamplerEngine lasting(std::make_unique<FormulaOnGpu>(), {}, listener.function());
  auto long_request = request_of({.kind = SchedulerKind::ddpm, .steps = 1000, .seed = 7, .philox = true, .shape = kImage});
  const auto id = lasting.submit(std::move(long_request));
  for (int turn = 0; turn < 40; ++turn) EXPECT(at::equal(alone_on_gpu(asked), expected));
  EXPECT(at::equal(listener.end_of(id).output,
                   alone_on_gpu({.kind = SchedulerKind::ddpm, .steps = 1000, .seed = 7, .philox = true, .shape = kImage})));
}

}  // namespace
