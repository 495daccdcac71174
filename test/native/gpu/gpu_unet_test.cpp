#include <ATen/ATen.h>

#include <atomic>
#include <sstream>
#include <thread>

#include "core/unet/time_embedding.h"
#include "gpu/gpu_helpers.h"

using namespace nd;
using namespace nd::test;

namespace {

Inputs moved(const Inputs& inputs) {
  const auto to = [](const at::Tensor& tensor) { return tensor.defined() ? tensor.to(kGpu) : tensor; };
  return {to(inputs.sample), to(inputs.timesteps), to(inputs.class_labels)};
}

/// Every recorded forward; says of all that differ by how much.
void expect_parity(at::ScalarType dtype, double tolerance) {
  std::ostringstream failures;
  size_t ran = 0;
  double worst = 0;
  for (const auto& entry : RecordedUNets::get().cases()) {
    const auto name = entry.at("name").get<std::string>();
    try {
      const auto model = load(entry, {kGpu, dtype});
      for (const auto& forward : entry.at("forwards")) {
        const auto y = run(*model, moved(draw_inputs(entry, forward)));
        EXPECT(y.device() == kGpu && y.scalar_type() == dtype && y.is_contiguous());
        const auto error = relative_error(y.cpu(), RecordedUNets::get().tensor(forward.at("output")));
        if (!(error <= tolerance)) failures << "\n  " << name << ": relative error " << error;
        worst = std::max(worst, error);
        ++ran;
      }
    } catch (const std::exception& e) {
      failures << "\n  " << name << ": threw " << e.what();
    }
  }
  std::printf("  %zu forwards, the worst relative error %.2e\n", ran, worst);
  if (!failures.str().empty()) check::failed(__FILE__, __LINE__, "allowed ", tolerance, failures.str());
  EXPECT(ran >= 80);
}

at::Tensor random_sample(int64_t batch, SampleShape shape = kImage) {
  return at::randn({batch, shape[0], shape[1], shape[2]}, seeded(5));
}

/// The same batch on both.
void expect_same(const ModelPair& models, const Inputs& inputs, double tolerance) {
  EXPECT(relative_error(run(*models.gpu, moved(inputs)).cpu(), run(*models.cpu, inputs)) <= tolerance);
}

TEST("every recorded UNet gives diffusers' numbers in float32") { expect_parity(at::kFloat, 1e-4); }
TEST("every recorded UNet gives diffusers' numbers in bfloat16") { expect_parity(at::kBFloat16, 3e-2); }
TEST("every recorded UNet gives diffusers' numbers in float16") { expect_parity(at::kHalf, 3e-2); }
TEST("every recorded UNet gives diffusers' numbers in float64, without our kernels") { expect_parity(at::kDouble, 1e-5); }

TEST("forwards that have become graphs read each call's inputs and give results of their own, two shapes in turn") {
  const auto models = model_pair({{"num_class_embeds", 3}});
  std::vector<std::pair<at::Tensor, at::Tensor>> results;
  for (int64_t call = 0; call < 10; ++call) {
    const int64_t batch = 1 + call % 2;
    const Inputs inputs{at::randn({batch, kImage[0], kImage[1], kImage[2]}, seeded(static_cast<uint64_t>(call))),
                        at::full({batch}, 100 * call, at::kLong), at::full({batch}, call % 3, at::kLong)};
    results.emplace_back(run(*models.gpu, moved(inputs)), run(*models.cpu, inputs));
  }
  for (const auto& [gpu, cpu] : results) EXPECT(relative_error(gpu.cpu(), cpu) <= 1e-4);
  EXPECT_EQUAL(models.gpu->capture_failure(), std::string());
  EXPECT_EQUAL(models.gpu->graphs(), int64_t{2});
}

TEST("a graph is captured on a thread that has run nothing before") {
  const auto models = model_pair();
  const Inputs inputs{random_sample(2), at::full({2}, 300, at::kLong), {}};
  for (int call = 0; call < 4; ++call) {
    std::thread([&] {
      const c10::InferenceMode inference;
      expect_same(models, inputs, 1e-4);
    }).join();
  }
  EXPECT_EQUAL(models.gpu->capture_failure(), std::string());
  EXPECT_EQUAL(models.gpu->graphs(), int64_t{1});
}

TEST("forwards on the default stream while an engine goes the plain way with the same model") {
  const auto models = model_pair();
  const Inputs inputs{random_sample(2), at::full({2}, 300, at::kLong), {}};
  const auto expected = run(*models.cpu, inputs);
  // Of few steps each: over many, thresholds magnify what rounding has done.
  constexpr uint64_t kRequests = 8;
  std::vector<EngineEvent> got, wanted;
  const auto draw = [&](const std::shared_ptr<const UNet2DModel>& model, std::vector<EngineEvent>& events, int forwards) {
    Listener listener;
    SamplerEngine engine(make_denoiser(model), {.max_batch = 1}, listener.function());
    std::vector<uint64_t> ids;
    for (uint64_t seed = 0; seed < kRequests; ++seed) {
      ids.push_back(engine.submit(request_of({.steps = 6, .seed = seed, .thresholding = true, .shape = kImage})));
    }
    for (int i = 0; i < forwards; ++i) EXPECT(relative_error(run(*model, moved(inputs)).cpu(), expected) <= 1e-4);
    for (const auto id : ids) events.push_back(listener.end_of(id));
  };
  draw(models.gpu, got, 60);
  draw(models.cpu, wanted, 0);
  expect_close(got, wanted, 1e-3);
}

TEST("float32 is float32 where the channels are many: no TF32, whatever libtorch allows") {
  const auto models = model_pair({{"block_out_channels", {256, 256}}, {"norm_num_groups", 32}});
  at::globalContext().setAllowTF32CuDNN(true);
  // TF32's products would be 3e-4 off.
  expect_same(models, {random_sample(4), at::tensor({1, 40, 500, 999}, at::kLong), {}}, 2e-5);
}

TEST("any batch size, image size, and timesteps of their own or fractional") {
  const auto models = model_pair();
  for (const int64_t batch : {1, 2, 3, 8, 33}) {
    for (const auto& shape : {kImage, kWide, SampleShape{3, 64, 64}}) {
      const auto whole = at::arange(batch, at::kLong) * 29;
      expect_same(models, {random_sample(batch, shape), whole, {}}, 1e-4);
      expect_same(models, {random_sample(batch, shape), whole.to(at::kFloat) + 0.375, {}}, 1e-4);
    }
  }
}

TEST("classes of every kind") {
  const auto t = at::tensor({3, 999, 0}, at::kLong);
  const auto labels = at::tensor({0, 4, 2}, at::kLong);
  expect_same(model_pair({{"num_class_embeds", 5}}), {random_sample(3), t, labels}, 1e-4);
  expect_same(model_pair({{"class_embed_type", "timestep"}}), {random_sample(3), t, labels}, 1e-4);
  expect_same(model_pair({{"class_embed_type", "identity"}}), {random_sample(3), t, at::randn({3, 128}, seeded(6))}, 1e-4);
  EXPECT_ERROR(argument, "got 5", run(*model_pair({{"num_class_embeds", 5}}).gpu,
                                      moved({random_sample(1), at::zeros({1}, at::kLong), at::tensor({5}, at::kLong)})));
}

TEST("a learned variance: twice the channels") {
  const auto models = model_pair({{"out_channels", 6}});
  const auto y = run(*models.gpu, moved({random_sample(2), at::tensor({7, 900}, at::kLong), {}}));
  EXPECT(y.sizes() == at::IntArrayRef({2, 6, 16, 16}));
  expect_same(models, {random_sample(2), at::tensor({7, 900}, at::kLong), {}}, 1e-4);
}

TEST("inputs on another device are refused by name") {
  const auto models = model_pair();
  EXPECT_ERROR(device, "sample must be on cuda:0", models.gpu->forward(random_sample(1), at::zeros({1}, at::kLong)));
  EXPECT_ERROR(device, "timesteps must be on cuda:0", models.gpu->forward(random_sample(1).to(kGpu), at::zeros({1}, at::kLong)));
}

TEST("rows out of the table of timesteps give what computed ones give") {
  for (const auto* name : {"blocks plain and attention", "scale_shift", "learned", "freq_shift 1"}) {
    const auto& entry = RecordedUNets::get().named(name);
    const auto model = load(entry, {kGpu, at::kFloat});
    const auto inputs = moved(draw_inputs(entry, entry.at("forwards").at(0)));
    const auto x = inputs.sample.contiguous(at::MemoryFormat::ChannelsLast);
    const auto table = model->time_table(1024);
    EXPECT(table.defined());
    const auto looked_up = model->predict(x, inputs.timesteps, model->look_up(table, inputs.timesteps));
    const auto computed = model->predict(x, inputs.timesteps, model->condition(inputs.timesteps, {}));
    EXPECT(relative_error(looked_up.cpu(), computed.cpu()) <= 1e-5);
  }
  EXPECT(!load(RecordedUNets::get().named("fourier"), {kGpu, at::kFloat})->time_table(1024).defined());
  EXPECT(!load(RecordedUNets::get().named("class table"), {kGpu, at::kFloat})->time_table(1024).defined());
}

TEST("weights come back to the bit") {
  const auto models = model_pair();
  const auto a = models.cpu->state_dict(), b = models.gpu->state_dict();
  EXPECT_EQUAL(a.size(), b.size());
  for (size_t i = 0; i < a.size(); ++i) EXPECT(a[i].first == b[i].first && at::equal(a[i].second, b[i].second));
}

TEST("runs in several threads at once") {
  const auto models = model_pair();
  const Inputs inputs = moved({random_sample(4), at::tensor({1, 40, 500, 999}, at::kLong), {}});
  const auto expected = run(*models.gpu, inputs).cpu();
  std::atomic<int> same{0};
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&] {
      const c10::InferenceMode inference;
      for (int turn = 0; turn < 5; ++turn) same += relative_error(run(*models.gpu, inputs).cpu(), expected) < 1e-5;
    });
  }
  for (auto& thread : threads) thread.join();
  EXPECT_EQUAL(same.load(), 20);
}

}  // namespace
