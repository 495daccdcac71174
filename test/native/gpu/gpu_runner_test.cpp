#include "core/engine/device_runner.h"

#include <ATen/ATen.h>

#include "core/engine/draws.h"
#include "gpu/gpu_helpers.h"

using namespace nd;
using namespace nd::test;

namespace {

std::unique_ptr<RunningRequest> begun(const DeviceRunner& runner, const Denoiser& denoiser, const Asked& asked) {
  auto request = std::make_unique<RunningRequest>(RunningRequest{asked.seed, request_of(asked), EngineClock::now()});
  request->on_device = runner.takes(request->asked);
  EXPECT(request->on_device);
  begin(*request, denoiser.target());
  return request;
}

BatchKey key_of(SampleShape shape, const Denoiser& denoiser, bool guided = false) {
  return batch_key(shape, denoiser.trial_labels(1), guided);
}

/// Each seed's sample after all its steps, the seeds in one batch in this order.
std::vector<at::Tensor> samples(DeviceRunner& runner, const Denoiser& denoiser, const std::vector<uint64_t>& seeds, int64_t steps = 5) {
  std::vector<std::unique_ptr<RunningRequest>> requests;
  std::vector<RunningRequest*> batch;
  for (const auto seed : seeds) {
    requests.push_back(begun(runner, denoiser, {.kind = SchedulerKind::ddpm, .steps = steps, .seed = seed, .shape = kImage}));
    batch.push_back(requests.back().get());
  }
  while (!batch.front()->done()) runner.run(batch);
  std::vector<at::Tensor> all;
  for (const auto& request : requests) {
    EXPECT(!request->error);
    all.push_back(request->x.cpu());
  }
  return all;
}

TEST("buckets: powers of two to 16, then eighths of the power above") {
  const std::vector<std::pair<int64_t, int64_t>> wanted{{1, 1}, {2, 2}, {3, 4}, {5, 8}, {9, 16}, {16, 16}, {17, 20}, {21, 24},
                                                        {29, 32}, {32, 32}, {33, 40}, {64, 64}, {65, 80}, {200, 224}, {256, 256}};
  for (const auto& [samples, bucket] : wanted) EXPECT_EQUAL(DeviceRunner::bucket_of(samples), bucket);
  for (int64_t samples = 1; samples < 300; ++samples) EXPECT(DeviceRunner::bucket_of(samples) >= samples);
}

TEST("the UNet's work becomes a graph after two runs, of each bucket") {
  for (const auto dtype : {at::kFloat, at::kBFloat16, at::kHalf}) {
    const auto denoiser = make_denoiser(model_pair(Json::object(), dtype).gpu);
    DeviceRunner runner(*denoiser);
    EXPECT_EQUAL(runner.graphs(), int64_t{0});
    EXPECT(runner.trial(key_of(kImage, *denoiser), 1) > 0);
    EXPECT_EQUAL(runner.graphs(), int64_t{0});
    EXPECT(runner.trial(key_of(kImage, *denoiser), 1) > 0);
    EXPECT_EQUAL(runner.capture_failure(), std::string());
    EXPECT_EQUAL(runner.graphs(), int64_t{1});
    for (int i = 0; i < 3; ++i) EXPECT(runner.trial(key_of(kImage, *denoiser), 3) > 0);
    EXPECT_EQUAL(runner.graphs(), int64_t{2});
    for (int i = 0; i < 3; ++i) EXPECT(runner.trial(key_of(kWide, *denoiser), 4) > 0);
    EXPECT_EQUAL(runner.graphs(), int64_t{3});
  }
}

TEST("every kind of UNet can be captured") {
  const std::vector<Json> changes{
      {{"time_embedding_type", "fourier"}},
      {{"time_embedding_type", "learned"}, {"num_train_timesteps", 50}},
      {{"down_block_types", {"SkipDownBlock2D", "AttnSkipDownBlock2D"}}, {"up_block_types", {"AttnSkipUpBlock2D", "SkipUpBlock2D"}}},
      {{"down_block_types", {"ResnetDownsampleBlock2D", "AttnDownBlock2D"}}, {"up_block_types", {"AttnUpBlock2D", "ResnetUpsampleBlock2D"}}},
      {{"resnet_time_scale_shift", "scale_shift"}, {"downsample_padding", 0}},
      {{"num_class_embeds", 5}},
      {{"class_embed_type", "timestep"}},
      {{"class_embed_type", "identity"}},
      {{"out_channels", 6}},
      {{"act_fn", "gelu"}, {"center_input_sample", true}},
  };
  std::string failures;
  for (const auto& change : changes) {
    const auto denoiser = make_denoiser(model_pair(change).gpu);
    DeviceRunner runner(*denoiser);
    for (int i = 0; i < 3; ++i) runner.trial(key_of(kImage, *denoiser), 2);
    int64_t wanted = 1;
    if (denoiser->trial_labels(1).defined()) {
      for (int i = 0; i < 3; ++i) runner.trial(key_of(kImage, *denoiser, /*guided=*/true), 2);
      wanted = 2;
    }
    if (runner.graphs() != wanted) failures += "\n  " + change.dump() + ": " + runner.capture_failure();
  }
  EXPECT_EQUAL(failures, std::string());
}

TEST("a graph gives what its work gives launch by launch") {
  const auto denoiser = make_denoiser(model_pair().gpu);
  DeviceRunner runner(*denoiser);
  const auto eager = samples(runner, *denoiser, {1, 2}, 2);  // the two runs before it is captured
  EXPECT_EQUAL(runner.graphs(), int64_t{1});
  const auto replayed = samples(runner, *denoiser, {1, 2}, 2);
  for (size_t i = 0; i < 2; ++i) EXPECT(relative_error(replayed[i], eager[i]) <= 1e-6);
}

TEST("the same bits in any slot of a bucket, whatever the neighbours; near it in another bucket") {
  for (const auto dtype : {at::kFloat, at::kBFloat16}) {
    const auto denoiser = make_denoiser(model_pair(Json::object(), dtype).gpu);
    DeviceRunner runner(*denoiser);
    for (int i = 0; i < 3; ++i) runner.trial(key_of(kImage, *denoiser), 4);
    const auto first = samples(runner, *denoiser, {1, 2, 3});
    const auto turned = samples(runner, *denoiser, {3, 7, 1, 2});
    EXPECT(at::equal(turned[2], first[0]) && at::equal(turned[3], first[1]) && at::equal(turned[0], first[2]));
    const auto again = samples(runner, *denoiser, {1, 2, 3});
    for (size_t i = 0; i < 3; ++i) EXPECT(at::equal(again[i], first[i]));
    const auto lone = samples(runner, *denoiser, {1});
    const auto many = samples(runner, *denoiser, {1, 2, 3, 4, 5, 6, 7, 8, 9});
    const double tolerance = dtype == at::kFloat ? 1e-4 : 5e-2;
    EXPECT(relative_error(lone[0], first[0]) <= tolerance && relative_error(many[0], first[0]) <= tolerance);
  }
}

TEST("buckets beyond those kept are made again") {
  const FormulaOnGpu formula;
  DeviceRunner runner(formula);
  const auto before = samples(runner, formula, {1});
  for (int64_t i = 1; i <= 80; ++i) EXPECT(runner.trial(key_of({3, 4, 4 * i}, formula), 1) > 0);
  const auto after = samples(runner, formula, {1});
  EXPECT(at::equal(before[0], after[0]));
}

TEST("what it does not take") {
  const auto models = model_pair();
  const auto denoiser = make_denoiser(models.gpu);
  DeviceRunner runner(*denoiser);
  EXPECT(runner.takes(request_of({.shape = kImage})));
  EXPECT(!runner.takes(request_of({.thresholding = true, .shape = kImage})));
  EXPECT_ERROR(shape, "multiples of 2", runner.takes(request_of({.shape = {3, 7, 16}})));
  auto labelled = request_of({.shape = kImage});
  labelled.class_label = at::zeros({1}, at::kLong);
  EXPECT_ERROR(argument, "no classes", runner.takes(labelled));
  EXPECT(!DeviceRunner::serves(*make_denoiser(models.cpu)));
  EXPECT(!DeviceRunner::serves(*make_denoiser(models.gpu->to({kGpu, at::kDouble}))));
}

}  // namespace
