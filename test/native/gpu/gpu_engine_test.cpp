#include <ATen/ATen.h>

#include <random>
#include <thread>

#include "gpu/gpu_helpers.h"

using namespace nd;
using namespace nd::test;

// An engine on the GPU against one on the CPU that takes each request alone.

namespace {

/// Steps amplify what the convolutions round otherwise.
constexpr double kTolerance = 1e-3;

std::vector<EngineEvent> alone_on_cpu(const ModelPair& models, std::vector<SampleRequest> requests) {
  return ends_of(make_denoiser(models.cpu), std::move(requests), 1);
}

template <typename Make>
std::vector<SampleRequest> several(int count, const Make& make) {
  std::vector<SampleRequest> requests;
  for (int i = 0; i < count; ++i) requests.push_back(make(i));
  return requests;
}

/// The same requests to both; each call makes them again, with generators of their own.
template <typename Make>
void expect_as_on_cpu(const ModelPair& models, int count, int64_t max_batch, const Make& make) {
  expect_close(ends_of(make_denoiser(models.gpu), several(count, make), max_batch), alone_on_cpu(models, several(count, make)),
               kTolerance);
}

TEST("requests of every kind share batches, each with what it has alone on the CPU") {
  std::vector<Asked> asked;
  std::mt19937 random(3);
  for (uint64_t seed = 0; seed < 24; ++seed) {
    asked.push_back({.kind = random() % 2 ? SchedulerKind::ddim : SchedulerKind::ddpm,
                     .steps = 1 + static_cast<int64_t>(random() % 12),
                     .seed = seed,
                     .philox = random() % 2 == 0,
                     .shape = random() % 3 ? kImage : kWide});
    if (asked.back().kind == SchedulerKind::ddim && random() % 2) asked.back().eta = 0.7;
  }
  expect_as_on_cpu(model_pair(), 24, 4, [&](int i) { return request_of(asked[static_cast<size_t>(i)]); });
}

TEST("the time on the device has the last step before the engine rests") {
  Listener listener;
  SamplerEngine engine(make_denoiser(model_pair().gpu), {.max_batch = 2}, listener.function());
  const auto device_seconds_after_one = [&] {
    const auto event = listener.end_of(engine.submit(request_of({.steps = 1, .shape = kImage})));
    EXPECT(event.kind == EngineEvent::Kind::done);
    return engine.stats().unet_seconds;
  };
  device_seconds_after_one();  // while cuDNN measures
  double before = device_seconds_after_one();
  for (int i = 0; i < 4; ++i) {
    const double after = device_seconds_after_one();
    EXPECT(after > before);
    before = after;
  }
}

TEST("dynamic thresholding in the mix: whole batches go the plain way, and back") {
  expect_as_on_cpu(model_pair(), 6, 2, [](int i) {
    return request_of({.kind = SchedulerKind::ddpm, .steps = 6, .seed = static_cast<uint64_t>(i), .philox = i % 2 == 0,
                       .thresholding = i == 2, .shape = kImage});
  });
}

TEST("class labels, on the CPU or the GPU, and embeddings") {
  const auto table = model_pair({{"num_class_embeds", 5}});
  for (const auto device : {at::Device(at::kCPU), kGpu}) {
    const auto make = [&](at::Device where) {
      return [where](int i) {
        auto request = request_of({.seed = static_cast<uint64_t>(i), .shape = kImage});
        request.class_label = at::full({1}, i % 5, at::kLong).to(i % 2 ? where : at::Device(at::kCPU));
        return request;
      };
    };
    expect_close(ends_of(make_denoiser(table.gpu), several(6, make(device)), 4),
                 alone_on_cpu(table, several(6, make(at::kCPU))), kTolerance);
  }
  expect_as_on_cpu(model_pair({{"class_embed_type", "identity"}}), 4, 4, [](int i) {
    auto request = request_of({.seed = static_cast<uint64_t>(i), .shape = kImage});
    request.class_label = at::randn({1, 128}, seeded(100 + static_cast<uint64_t>(i)));
    return request;
  });
}

TEST("classifier-free guidance, each with its own scale, beside requests without; more than share a batch") {
  expect_as_on_cpu(model_pair({{"num_class_embeds", 5}}), 12, 5, [](int i) {
    auto request = request_of({.kind = i % 2 ? SchedulerKind::ddim : SchedulerKind::ddpm, .seed = static_cast<uint64_t>(i),
                               .philox = i % 3 == 0, .shape = kImage});
    request.class_label = at::full({1}, i % 4, at::kLong);
    if (i % 4 == 3) return request;
    request.null_label = at::full({1}, 4, at::kLong).to(i % 5 ? at::Device(at::kCPU) : kGpu);
    request.guidance_scale = 1.5 + i;
    return request;
  });
}

TEST("a learned range of variances, and DDIM beside it, from one model of twice the channels") {
  SchedulerConfig config;
  config.variance_type = VarianceType::learned_range;
  const std::shared_ptr<NoiseScheduler> scheduler = make_scheduler(SchedulerKind::ddpm, config);
  scheduler->set_timesteps(6);
  expect_as_on_cpu(model_pair({{"out_channels", 6}}), 4, 4, [&](int i) {
    auto request = request_of({.steps = 6, .seed = static_cast<uint64_t>(i), .philox = i > 1, .shape = kImage});
    if (i % 2 == 0) request.plan = make_plan(scheduler, {});
    return request;
  });
}

TEST("a Fourier embedding, a learned one, and layers that resample through FIR filters") {
  const std::vector<Json> changes{
      {{"time_embedding_type", "fourier"}},
      {{"time_embedding_type", "learned"}, {"num_train_timesteps", 1000}},
      {{"down_block_types", {"SkipDownBlock2D", "AttnSkipDownBlock2D"}}, {"up_block_types", {"AttnSkipUpBlock2D", "SkipUpBlock2D"}}},
      {{"resnet_time_scale_shift", "scale_shift"}, {"downsample_padding", 0}},
  };
  for (const auto& change : changes) {
    const bool fourier = change.contains("time_embedding_type") && change["time_embedding_type"] == "fourier";
    expect_as_on_cpu(model_pair(change), 4, 4, [&](int i) {
      auto request = request_of({.steps = 4, .seed = static_cast<uint64_t>(i), .shape = kImage});
      SchedulerConfig config;
      config.steps_offset = fourier ? 1 : 0;  // log(t) wants none that is 0
      const std::shared_ptr<NoiseScheduler> scheduler = make_scheduler(SchedulerKind::ddim, config);
      scheduler->set_timesteps(4);
      request.plan = make_plan(scheduler, {});
      return request;
    });
  }
}

TEST("inversion, an image to start from, an x_T on either device") {
  const auto image = at::randn({1, 3, 16, 16}, seeded(8)).clamp(-1, 1);
  for (const auto device : {at::Device(at::kCPU), kGpu}) {
    const auto models = model_pair();
    const auto make = [&](at::Device where) {
      return [&, where](int i) {
        auto request = request_of({.kind = i == 0 ? SchedulerKind::ddim_inverse : SchedulerKind::ddim, .steps = 8,
                                   .seed = static_cast<uint64_t>(i), .shape = kImage});
        if (i == 0 || i == 3) request.start = image.to(where);
        if (i == 1) {
          request.plan = make_plan(scheduler_of({.steps = 8}), {.first_step = 4});
          request.image = image.to(where);
        }
        return request;
      };
    };
    expect_close(ends_of(make_denoiser(models.gpu), several(4, make(device)), 4),
                 alone_on_cpu(models, several(4, make(at::kCPU))), kTolerance);
  }
}

TEST("previews of x0 are the CPU's, each in its step, and the steps come in order") {
  const auto models = model_pair();
  std::vector<std::vector<EngineEvent>> steps;
  for (const auto& model : {models.gpu, models.cpu}) {
    Listener listener;
    SamplerEngine engine(make_denoiser(model), {}, listener.function());
    auto request = request_of({.kind = SchedulerKind::ddpm, .steps = 9, .philox = true, .shape = kImage});
    request.reports_steps = true;
    request.preview_every = 2;
    const auto id = engine.submit(std::move(request));
    EXPECT(listener.end_of(id).kind == EngineEvent::Kind::done);
    steps.push_back(listener.steps_of(id));
  }
  EXPECT_EQUAL(steps[0].size(), size_t{9});
  for (size_t i = 0; i < 9; ++i) {
    EXPECT_EQUAL(steps[0][i].step, static_cast<int64_t>(i) + 1);
    EXPECT_EQUAL(steps[0][i].timestep, steps[1][i].timestep);
    EXPECT_EQUAL(steps[0][i].output.defined(), i % 2 == 1);
    if (i % 2 == 1) EXPECT(relative_error(steps[0][i].output, steps[1][i].output) <= kTolerance);
  }
}

TEST("Philox and the formula: the CPU's bits up to sin's, whatever the neighbours, in half too") {
  for (const auto dtype : {at::kFloat, at::kBFloat16}) {
    const auto make = [](int i) {
      return request_of({.kind = SchedulerKind::ddpm, .steps = 9, .seed = i == 3 ? 5 : 100 + static_cast<uint64_t>(i),
                         .philox = true, .shape = kImage});
    };
    const auto together = ends_of(std::make_unique<FormulaOnGpu>(dtype), several(6, make), 4);
    std::vector<SampleRequest> lone;
    lone.push_back(make(3));
    const auto alone = ends_of(std::make_unique<FormulaOnGpu>(dtype), std::move(lone), 1);
    EXPECT(together[3].kind == EngineEvent::Kind::done && alone[0].kind == EngineEvent::Kind::done);
    EXPECT(at::equal(together[3].output, alone[0].output));
    EXPECT(!at::equal(together[2].output, alone[0].output));
    if (dtype == at::kFloat) expect_close(together, ends_of(std::make_unique<Formula>(), several(6, make), 1), 2e-2);
  }
}

TEST("the device's own generators: one seed, one image; and none given") {
  const auto models = model_pair();
  const auto make = [](int i) {
    auto request = request_of({.kind = SchedulerKind::ddpm, .steps = 6, .shape = kImage});
    request.generator = i == 2 ? at::Generator() : at::globalContext().defaultGenerator(kGpu).clone();
    if (i < 2) request.generator.set_current_seed(9);
    return request;
  };
  const auto ends = ends_of(make_denoiser(models.gpu), several(3, make), 1);
  for (const auto& end : ends) EXPECT(end.kind == EngineEvent::Kind::done);
  EXPECT(relative_error(ends[0].output, ends[1].output) <= 1e-5);
  EXPECT(relative_error(ends[2].output, ends[0].output) > 1e-2);
}

TEST("bfloat16 and float16: near float32") {
  for (const auto dtype : {at::kBFloat16, at::kHalf}) {
    const auto models = model_pair(Json::object(), dtype);
    const auto make = [](int i) { return request_of({.steps = 5, .seed = static_cast<uint64_t>(i), .philox = true, .shape = kImage}); };
    expect_close(ends_of(make_denoiser(models.gpu), several(4, make), 4), alone_on_cpu(models, several(4, make)), 8e-2);
  }
}

TEST("two engines at once, of one model and of two, while a third thread uses the GPU") {
  const auto first = model_pair(), second = model_pair({{"layers_per_block", 2}});
  const auto make = [](int i) { return request_of({.kind = SchedulerKind::ddpm, .steps = 12, .seed = static_cast<uint64_t>(i), .shape = kImage}); };
  std::atomic<bool> stop = false;
  std::thread other([&] {
    const c10::InferenceMode inference;
    while (!stop) at::randn({64, 64}, at::device(kGpu)).matmul(at::ones({64, 64}, at::device(kGpu))).sum().item<float>();
  });
  std::vector<std::string> failures(3);
  std::vector<std::thread> threads;
  for (size_t k = 0; k < 3; ++k) {
    threads.emplace_back([&, k] {
      const c10::InferenceMode inference;
      try {
        expect_as_on_cpu(k == 2 ? second : first, 8, 4, make);
      } catch (const std::exception& e) {
        failures[k] = e.what();
      }
    });
  }
  for (auto& thread : threads) thread.join();
  stop = true;
  other.join();
  for (const auto& failure : failures) EXPECT_EQUAL(failure, std::string());
}

TEST("a warm-up measures, and the requests after it are right") {
  const auto models = model_pair();
  Listener listener;
  SamplerEngine engine(make_denoiser(models.gpu), {.max_batch = 4}, listener.function());
  EXPECT(listener.end_of(engine.warm_up(kImage, {1, 4})).kind == EngineEvent::Kind::warmed);
  const auto make = [](int i) { return request_of({.seed = static_cast<uint64_t>(i), .shape = kImage}); };
  std::vector<EngineEvent> got;
  for (auto& request : several(4, make)) got.push_back(listener.end_of(engine.submit(std::move(request))));
  expect_close(got, alone_on_cpu(models, several(4, make)), kTolerance);
}

}  // namespace
