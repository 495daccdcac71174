#include "core/engine/sampler_engine.h"

#include "check.h"
#include "engine/engine_helpers.h"

using namespace nd;
using namespace nd::test;

namespace {

/// ε = sin(3x + t + label), in plain operators: the same bits in any batch.
at::Tensor epsilon(const at::Tensor& x, const at::Tensor& timesteps, const at::Tensor& labels) {
  return at::sin(3 * x + (timesteps + labels).to(at::kFloat).view({-1, 1, 1, 1}));
}

class OfClasses : public Formula {
 public:
  at::Tensor operator()(const at::Tensor& x, const at::Tensor& timesteps, const at::Tensor& labels,
                        const std::atomic<bool>&) const override {
    const std::lock_guard lock(mutex);
    sizes.push_back(x.size(0));
    EXPECT_EQUAL(labels.size(0), x.size(0));
    return epsilon(x, timesteps, labels);
  }
  at::Tensor trial_labels(int64_t batch) const override { return at::zeros({batch}, at::kLong); }

  mutable std::mutex mutex;
  mutable std::vector<int64_t> sizes;
};

constexpr int64_t kNull = 9;

at::Tensor label_of(int64_t label) { return at::full({1}, label, at::kLong); }

SampleRequest guided_request(const Asked& asked, int64_t label, double scale) {
  auto request = request_of(asked);
  request.class_label = label_of(label);
  if (scale > 1) {
    request.null_label = label_of(kNull);
    request.guidance_scale = scale;
  }
  return request;
}

/// The same by the pipelines' loop.
at::Tensor guided_alone(const Asked& asked, int64_t label, double scale) {
  const auto scheduler = scheduler_of(asked);
  auto generator = at::detail::createCPUGenerator(asked.seed);
  auto x = randn({1, asked.shape[0], asked.shape[1], asked.shape[2]}, {generator}, at::kFloat);
  for (const auto t : scheduler->timesteps()) {
    const auto timestep = at::tensor({t}, at::kLong);
    const auto cond = epsilon(x, timestep, label_of(label)), uncond = epsilon(x, timestep, label_of(kNull));
    const auto out = scale > 1 ? uncond + (cond - uncond) * scale : cond;
    x = scheduler_step(*scheduler, out, x, {.timesteps = {t}, .eta = {asked.eta}}, {.generators = {generator}}).prev_sample;
  }
  return x.squeeze(0);
}

Asked asked_for(uint64_t seed) {
  return {.kind = seed % 3 ? SchedulerKind::ddim : SchedulerKind::ddpm, .steps = 2 + static_cast<int64_t>(seed % 5), .seed = seed};
}

double scale_for(uint64_t seed) { return seed % 4 == 0 ? 1.0 : 1.5 + static_cast<double>(seed); }

}  // namespace

TEST("guided requests, each with its own scale, and others in one engine: each has what it has alone") {
  for (const int64_t max_batch : {1, 5, 64}) {
    Listener listener;
    auto model = std::make_unique<OfClasses>();
    const auto& sizes = model->sizes;
    SamplerEngine engine(std::move(model), {.max_batch = max_batch}, listener.function());
    std::vector<uint64_t> ids;
    for (uint64_t seed = 0; seed < 16; ++seed) {
      ids.push_back(engine.submit(guided_request(asked_for(seed), static_cast<int64_t>(seed % 4), scale_for(seed))));
    }
    for (uint64_t seed = 0; seed < 16; ++seed) {
      const auto event = listener.end_of(ids[seed]);
      EXPECT(event.kind == EngineEvent::Kind::done);
      const auto wanted = guided_alone(asked_for(seed), static_cast<int64_t>(seed % 4), scale_for(seed));
      EXPECT(at::allclose(event.output, wanted, 1e-5, 1e-5));
    }
    engine.drain();
    for (const auto size : sizes) EXPECT(size <= std::max<int64_t>(2, max_batch));
    EXPECT_EQUAL(engine.stats().images, int64_t{16});
  }
}

TEST("padded batches of guided requests are of one size too, in trials as well") {
  Listener listener;
  auto model = std::make_unique<OfClasses>();
  const auto& sizes = model->sizes;
  SamplerEngine engine(std::move(model), {.max_batch = 7, .pad_batches = true}, listener.function());
  EXPECT(listener.end_of(engine.warm_up(kShape, {1, 3}, /*guided=*/true)).kind == EngineEvent::Kind::warmed);
  for (uint64_t seed = 0; seed < 5; ++seed) {
    const auto id = engine.submit(guided_request(asked_for(seed), 2, 3.0));
    if (seed % 2 == 0) EXPECT(at::allclose(listener.end_of(id).output, guided_alone(asked_for(seed), 2, 3.0), 1e-5, 1e-5));
  }
  engine.drain();
  EXPECT(sizes.size() > 8);
  for (const auto size : sizes) EXPECT_EQUAL(size, int64_t{7});
}

TEST("a trial of guided requests measures them, and their limit counts the model's samples") {
  Listener listener;
  auto model = std::make_unique<OfClasses>();
  const auto& sizes = model->sizes;
  SamplerEngine engine(std::move(model), {.max_batch = 8}, listener.function());
  listener.end_of(engine.warm_up(kShape, {4}, /*guided=*/true));
  for (const auto size : sizes) EXPECT_EQUAL(size, int64_t{8});
  EXPECT_EQUAL(engine.stats().batch_limit, int64_t{8});
  listener.end_of(engine.submit(guided_request(asked_for(1), 2, 3.0)));
  EXPECT_EQUAL(engine.stats().batch_limit, int64_t{8});
  EXPECT_EQUAL(engine.stats().samples_per_step, 2.0);
}
