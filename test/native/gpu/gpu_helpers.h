#pragma once

#include <ATen/Context.h>

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "check.h"
#include "engine/engine_helpers.h"
#include "unet/recorded_unets.h"

/// Models on the first CUDA device, and what an engine gives with them.
namespace nd::test {

inline const at::Device kGpu{at::kCUDA, 0};

/// Small, and with every layer that a graph must hold: attention, both ways of resampling an image, a shortcut.
inline UNet2DConfig small_config(const Json& changes = Json::object()) {
  auto config = Json::parse(R"({"sample_size": 16, "in_channels": 3, "out_channels": 3, "block_out_channels": [32, 64],
    "layers_per_block": 1, "down_block_types": ["DownBlock2D", "AttnDownBlock2D"],
    "up_block_types": ["AttnUpBlock2D", "UpBlock2D"], "norm_num_groups": 8, "attention_head_dim": 32})");
  config.update(changes);
  return parse_unet2d_config(config.dump());
}

/// The same weights on the CPU and on the GPU.
struct ModelPair {
  std::shared_ptr<const UNet2DModel> cpu, gpu;
};
inline ModelPair model_pair(const Json& changes = Json::object(), at::ScalarType dtype = at::kFloat) {
  const auto cpu = UNet2DModel::random(small_config(changes), seeded(11), {});
  return {cpu, cpu->to({kGpu, dtype})};
}

inline constexpr SampleShape kImage{3, 16, 16}, kWide{3, 8, 24};

/// The formula of engine_helpers.h there.
class FormulaOnGpu : public Formula {
 public:
  explicit FormulaOnGpu(at::ScalarType dtype = at::kFloat) : dtype_(dtype) {}
  ModelTarget target() const override { return {kGpu, dtype_}; }

 private:
  at::ScalarType dtype_;
};

/// How each request ends in an engine of its own.
inline std::vector<EngineEvent> ends_of(std::unique_ptr<const Denoiser> denoiser, std::vector<SampleRequest> requests,
                                        int64_t max_batch) {
  Listener listener;
  SamplerEngine engine(std::move(denoiser), {.max_batch = max_batch}, listener.function());
  std::vector<uint64_t> ids;
  for (auto& request : requests) ids.push_back(engine.submit(std::move(request)));
  std::vector<EngineEvent> ends;
  for (const auto id : ids) ends.push_back(listener.end_of(id));
  return ends;
}

/// The message of what ended it.
inline std::string message_of(const EngineEvent& event) {
  if (!event.error) return "";
  try {
    std::rethrow_exception(event.error);
  } catch (const std::exception& e) {
    return e.what();
  }
}

/// The code that ended it; fails where nothing did, or something that is no Error.
inline ErrorCode failure_of(const EngineEvent& event) {
  if (!event.error) check::failed(__FILE__, __LINE__, "the request did not fail");
  try {
    std::rethrow_exception(event.error);
  } catch (const Error& error) {
    return error.code();
  }
}

/// Fails for one that did not end well or lies further than `tolerance` from its reference, by ‖y − r‖ / ‖r‖.
inline void expect_close(const std::vector<EngineEvent>& got, const std::vector<EngineEvent>& wanted, double tolerance) {
  EXPECT_EQUAL(got.size(), wanted.size());
  for (size_t i = 0; i < got.size(); ++i) {
    if (got[i].kind != EngineEvent::Kind::done || wanted[i].kind != EngineEvent::Kind::done) {
      check::failed(__FILE__, __LINE__, "request ", i, ": ", message_of(got[i]), message_of(wanted[i]));
    }
    const auto error = relative_error(got[i].output, wanted[i].output);
    if (!(error <= tolerance)) check::failed(__FILE__, __LINE__, "request ", i, ": relative error ", error, ", allowed ", tolerance);
  }
}

}  // namespace nd::test
