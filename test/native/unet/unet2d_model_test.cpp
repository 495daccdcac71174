#include "core/unet/unet2d_model.h"

#include <ATen/ATen.h>
#include <ATen/CPUGeneratorImpl.h>

#include <algorithm>
#include <sstream>
#include <thread>

#include "check.h"
#include "unet/recorded_unets.h"

using nd::ModelTarget;
using nd::UNet2DModel;
using nd::test::draw_inputs;
using nd::test::draw_weights;
using nd::test::Inputs;
using nd::test::load;
using nd::test::RecordedUNets;
using nd::test::relative_error;
using nd::test::run;

namespace {

const auto& plain_case() { return RecordedUNets::get().named("blocks plain and attention"); }
const auto& class_case() { return RecordedUNets::get().named("class table"); }

/// Every recorded forward in one dtype; says of all that differ by how much.
void expect_parity(at::ScalarType dtype, double tolerance) {
  std::ostringstream failures;
  size_t ran = 0;
  for (const auto& entry : RecordedUNets::get().cases()) {
    const auto name = entry.at("name").get<std::string>();
    try {
      const auto model = load(entry, {at::kCPU, dtype});
      for (const auto& forward : entry.at("forwards")) {
        const auto y = run(*model, draw_inputs(entry, forward));
        EXPECT(y.scalar_type() == dtype && y.is_contiguous());
        const auto error = relative_error(y, RecordedUNets::get().tensor(forward.at("output")));
        if (!(error <= tolerance)) failures << "\n  " << name << ": relative error " << error;
        ++ran;
      }
    } catch (const std::exception& e) {
      failures << "\n  " << name << ": threw " << e.what();
    }
  }
  if (!failures.str().empty()) check::failed(__FILE__, __LINE__, "allowed ", tolerance, failures.str());
  EXPECT(ran >= 80);
}

TEST("every recorded UNet gives diffusers' numbers in float32") { expect_parity(at::kFloat, 1e-5); }
TEST("every recorded UNet gives diffusers' numbers in bfloat16") { expect_parity(at::kBFloat16, 2e-2); }

TEST("a model in float64 gives diffusers' float64 numbers") {
  for (const auto* name : {"blocks plain and attention", "blocks skip", "scale_shift"}) {
    const auto& entry = RecordedUNets::get().named(name);
    const auto& forward = entry.at("forwards").at(0);
    const auto y = run(*load(entry, {at::kCPU, at::kDouble}), draw_inputs(entry, forward));
    EXPECT(relative_error(y, RecordedUNets::get().tensor(forward.at("float64_output"))) < 2e-7);
  }
}

TEST("missing, unexpected and misshapen tensors are listed in one error") {
  auto weights = draw_weights(plain_case());
  const auto at_name = [&](const std::string& name) {
    return std::find_if(weights.begin(), weights.end(), [&](const auto& w) { return w.first == name; });
  };
  weights.erase(at_name("conv_in.bias"));
  weights.erase(at_name("mid_block.resnets.1.conv2.weight"));
  at_name("conv_out.weight")->second = at::zeros({3, 8, 1, 1});
  weights.emplace_back("conv_extra.weight", at::zeros({2}));
  const auto message =
      EXPECT_ERROR(checkpoint, "does not fit the config", load(plain_case(), {}, weights));
  for (const auto* part : {"2 missing", "conv_in.bias", "mid_block.resnets.1.conv2.weight", "1 unexpected",
                           "conv_extra.weight", "1 of the wrong shape", "conv_out.weight [3, 8, 1, 1]", "[3, 8, 3, 3]"})
    if (message.find(part) == std::string::npos) check::failed(__FILE__, __LINE__, "'", part, "' is not in ", message);
}

TEST("all of them are listed, however many") {
  const nd::NamedTensors other{{"other", at::zeros(1)}};
  const auto message = EXPECT_ERROR(checkpoint, "1 unexpected: other", load(plain_case(), {}, other));
  for (const auto& [name, weight] : draw_weights(plain_case())) {
    if (message.find(name) == std::string::npos) check::failed(__FILE__, __LINE__, "'", name, "' is not in ", message);
  }
}

TEST("the frequencies that the constructor draws twice are missing once") {
  const auto& fourier = RecordedUNets::get().named("fourier");
  auto weights = draw_weights(fourier);
  std::erase_if(weights, [](const auto& weight) { return weight.first == "time_proj.weight"; });
  const auto message = EXPECT_ERROR(checkpoint, "1 missing: time_proj.weight", load(fourier, {}, weights));
  EXPECT_EQUAL(message.find("time_proj.weight"), message.rfind("time_proj.weight"));
}

TEST("names without end are counted") {
  nd::NamedTensors many;
  for (int i = 0; i < 20000; ++i) many.emplace_back("a.tensor.with.quite.a.name." + std::to_string(i), at::zeros(1));
  const auto message = EXPECT_ERROR(checkpoint, "20000 unexpected", load(plain_case(), {}, many));
  EXPECT(message.size() < 300'000 && message.find("more") != std::string::npos);
}

TEST("a tensor that holds no floats is refused by name") {
  auto weights = draw_weights(plain_case());
  weights.front().second = weights.front().second.to(at::kLong);
  EXPECT_ERROR(checkpoint, weights.front().first, load(plain_case(), {}, weights));
}

TEST("a sample that does not fit is refused") {
  const auto model = load(plain_case());
  const auto t = at::zeros({2}, at::kLong);
  const auto of = [&](at::IntArrayRef shape) { return model->forward(at::zeros(shape), t); };
  EXPECT_ERROR(shape, "[B, 3, H, W]", of({2, 3, 8}));
  EXPECT_ERROR(shape, "[B, 3, H, W]", of({2, 4, 8, 8}));
  EXPECT_ERROR(shape, "[B, 3, H, W]", of({0, 3, 8, 8}));
  EXPECT_ERROR(shape, "multiples of 2", of({2, 3, 8, 7}));
  EXPECT_ERROR(shape, "multiples of 2", of({2, 3, 0, 8}));
  EXPECT_ERROR(dtype, "floating", model->forward(at::zeros({2, 3, 8, 8}, at::kInt), t));
}

TEST("timesteps that do not fit are refused") {
  const auto model = load(plain_case());
  const auto sample = at::zeros({2, 3, 8, 8});
  EXPECT_ERROR(shape, "timesteps", model->forward(sample, at::zeros({3}, at::kLong)));
  EXPECT_ERROR(shape, "timesteps", model->forward(sample, at::zeros({2, 1}, at::kLong)));
  EXPECT_ERROR(dtype, "timesteps", model->forward(sample, at::zeros({2}, at::kInt)));
  const auto learned = load(RecordedUNets::get().named("learned"));
  EXPECT_ERROR(timestep, "integers", learned->forward(sample, at::zeros({2})));
  EXPECT_ERROR(argument, "0 … 19, got 20", learned->forward(sample, at::tensor({0, 20}, at::kLong)));
  EXPECT_ERROR(argument, "got -1", learned->forward(sample, at::tensor({0, -1}, at::kLong)));
}

TEST("class labels that do not fit are refused") {
  const auto sample = at::zeros({2, 3, 8, 8});
  const auto t = at::zeros({2}, at::kLong);
  const auto model = load(class_case());
  const auto with = [&](const at::Tensor& labels) { return model->forward(sample, t, labels); };
  EXPECT_ERROR(argument, "class_labels", with({}));
  EXPECT_ERROR(argument, "0 … 4, got 5", with(at::tensor({0, 5}, at::kLong)));
  EXPECT_ERROR(argument, "got -1", with(at::tensor({-1, 0}, at::kLong)));
  EXPECT_ERROR(shape, "class_labels", with(at::zeros({3}, at::kLong)));
  EXPECT_ERROR(dtype, "class_labels", with(at::zeros({2})));
  EXPECT_ERROR(argument, "no classes", load(plain_case())->forward(sample, t, at::zeros({2}, at::kLong)));
  const auto identity = load(RecordedUNets::get().named("class identity"));
  EXPECT_ERROR(shape, "[2, 32]", identity->forward(sample, t, at::zeros({2, 31})));
  EXPECT_ERROR(dtype, "floating", identity->forward(sample, t, at::zeros({2, 32}, at::kLong)));
  // Embedded as timesteps are, they are rows of the same learned table.
  const auto learned = UNet2DModel::random(
      nd::parse_unet2d_config(R"({"block_out_channels":[32],"down_block_types":["DownBlock2D"],"up_block_types":["UpBlock2D"],
                                  "layers_per_block":1,"time_embedding_type":"learned","num_train_timesteps":10,
                                  "class_embed_type":"timestep"})"),
      at::detail::createCPUGenerator(0), {});
  EXPECT(learned->forward(sample, t, at::tensor({0, 9}, at::kLong)).sizes() == sample.sizes());
  EXPECT_ERROR(argument, "class_labels must be in 0 … 9, got 10", learned->forward(sample, t, at::tensor({0, 10}, at::kLong)));
}

TEST("a cancelled forward ends with ERR_ABORTED, and the model goes on working") {
  const auto model = load(plain_case());
  const auto inputs = draw_inputs(plain_case(), plain_case().at("forwards").at(0));
  const auto expected = run(*model, inputs);
  std::atomic<bool> cancelled{true};
  EXPECT_ERROR(aborted, "cancelled", model->forward(inputs.sample, inputs.timesteps, {}, &cancelled));
  cancelled = false;
  EXPECT(at::equal(model->forward(inputs.sample, inputs.timesteps, {}, &cancelled), expected));
}

TEST("inputs are not written") {
  const auto model = load(RecordedUNets::get().named("center_input_sample in skip blocks"));
  auto inputs = draw_inputs(plain_case(), plain_case().at("forwards").at(0));
  for (const auto format : {at::MemoryFormat::Contiguous, at::MemoryFormat::ChannelsLast}) {
    inputs.sample = inputs.sample.contiguous(format);
    const auto before = inputs.sample.clone();
    run(*model, inputs);
    EXPECT(at::equal(inputs.sample, before));
  }
}

TEST("the sample's memory layout does not matter") {
  const auto model = load(plain_case());
  auto inputs = draw_inputs(plain_case(), plain_case().at("forwards").at(0));
  const auto expected = run(*model, inputs);
  inputs.sample = at::cat({inputs.sample, inputs.sample}, 3).narrow(3, 0, 8);
  EXPECT(relative_error(run(*model, inputs), expected) < 1e-6);
  inputs.sample = inputs.sample.permute({0, 2, 3, 1}).contiguous().permute({0, 3, 1, 2});
  EXPECT(relative_error(run(*model, inputs), expected) < 1e-6);
}

TEST("a sample with a timestep of its own gives what it gives alone") {
  const auto& entry = RecordedUNets::get().named("batch 9");
  const auto model = load(entry);
  const auto inputs = draw_inputs(entry, entry.at("forwards").at(0));
  const auto together = run(*model, inputs);
  for (int64_t i = 0; i < together.size(0); ++i) {
    const auto alone = model->forward(inputs.sample.narrow(0, i, 1), inputs.timesteps.narrow(0, i, 1));
    EXPECT(relative_error(together.narrow(0, i, 1), alone) < 2e-6);
  }
}

TEST("runs in several threads at once") {
  const auto model = load(class_case());
  const auto inputs = draw_inputs(class_case(), class_case().at("forwards").at(0));
  const auto expected = run(*model, inputs);
  std::atomic<int> same{0};
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&] {
      for (int turn = 0; turn < 5; ++turn) same += relative_error(run(*model, inputs), expected) < 1e-6;
    });
  }
  for (auto& thread : threads) thread.join();
  EXPECT_EQUAL(same.load(), 20);
}

TEST("state_dict gives every parameter back, to the bit, for every recorded UNet") {
  for (const auto& entry : RecordedUNets::get().cases()) {
    const auto weights = draw_weights(entry);
    const auto model = load(entry, {}, weights);
    auto kept = model->state_dict();
    std::sort(kept.begin(), kept.end(), [](const auto& a, const auto& b) { return a.first < b.first; });
    EXPECT_EQUAL(kept.size(), weights.size());
    int64_t count = 0;
    for (size_t i = 0; i < kept.size(); ++i) {
      EXPECT_EQUAL(kept[i].first, weights[i].first);
      if (!at::equal(kept[i].second, weights[i].second))
        check::failed(__FILE__, __LINE__, entry.at("name"), ": ", kept[i].first, " changed");
      count += kept[i].second.numel();
    }
    EXPECT_EQUAL(model->parameter_count(), count);
  }
}

TEST("to() keeps the weights and changes the dtype") {
  const auto inputs = draw_inputs(plain_case(), plain_case().at("forwards").at(0));
  const auto model = load(plain_case());
  const auto half = model->to({at::kCPU, at::kBFloat16});
  EXPECT(half->target().dtype == at::kBFloat16);
  const auto direct = load(plain_case(), {at::kCPU, at::kBFloat16});
  EXPECT(at::equal(run(*half, inputs), run(*direct, inputs)));
  EXPECT(model->target().dtype == at::kFloat);
}

TEST("random weights have torch's distributions") {
  const auto config = nd::parse_unet2d_config(plain_case().at("config").dump());
  const auto make = [&](uint64_t seed) { return UNet2DModel::random(config, nd::test::seeded(seed), {}); };
  const auto [a, b, other] = std::tuple{make(1)->state_dict(), make(1)->state_dict(), make(2)->state_dict()};
  EXPECT_EQUAL(a.size(), plain_case().at("state").size());
  for (size_t i = 0; i < a.size(); ++i) {
    const auto& [name, value] = a[i];
    EXPECT(at::equal(value, b[i].second));
    const bool is_norm = name.find("norm") != std::string::npos;
    if (is_norm) {
      EXPECT(at::all(value == (name.ends_with("weight") ? 1.0 : 0.0)).item<bool>());
    } else if (value.dim() > 1) {
      const auto bound = 1 / std::sqrt(static_cast<double>(value.numel() / value.size(0)));
      EXPECT(value.abs().max().item<double>() <= bound * (1 + 1e-6));
      EXPECT_NEAR(value.std().item<double>(), bound / std::sqrt(3.0), 0.25 * bound);
      EXPECT(!at::equal(value, other[i].second));
    }
  }
}

}  // namespace
