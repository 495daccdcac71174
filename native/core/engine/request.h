#pragma once

#include <ATen/core/Generator.h>
#include <ATen/core/Tensor.h>

#include <array>
#include <chrono>
#include <cstdint>
#include <exception>
#include <memory>
#include <optional>

#include "core/engine/batch_policy.h"
#include "core/engine/denoising_plan.h"

namespace nd {

using EngineClock = std::chrono::steady_clock;

/// [C, H, W].
using SampleShape = std::array<int64_t, 3>;

/// latent: x_0 itself, [C, H, W]; the others: to_pixels' formats, [H, W, C].
enum class SampleOutput { latent, unit_float, uint8 };

/// Samples of one shape, whose labels (undefined, [B] or [B, D]) can be put together.
inline BatchKey batch_key(SampleShape shape, const at::Tensor& labels, bool guided, bool plain = false) {
  const int64_t kind = !labels.defined() ? 0 : labels.dim() == 1 ? -1 : labels.size(1);
  return {shape[0], shape[1], shape[2], kind, plain ? 1 : 0, guided ? 1 : 0};
}

/// One sample that is asked of the engine.
struct SampleRequest {
  std::shared_ptr<const DenoisingPlan> plan;
  SampleShape shape;
  at::Tensor start;          // x_T [1, C, H, W]; undefined: the first draw
  at::Tensor image;          // x_0 [1, C, H, W], which the first draw noises to the first timestep; undefined: none
  at::Generator generator;   // torch's; undefined: the default one, or Philox
  std::optional<uint64_t> philox_seed;
  at::Tensor class_label;    // [1], or [1, D] where the model takes embeddings; undefined: none
  at::Tensor null_label;     // the same, of what is predicted beside it for classifier-free guidance; undefined: no guidance
  double guidance_scale = 1; // s of `guide`
  SampleOutput output = SampleOutput::uint8;
  int64_t priority = 0;      // a higher one goes first
  std::optional<EngineClock::time_point> deadline;
  bool reports_steps = false;
  int64_t preview_every = 0; // steps; 0: never

  bool guided() const { return null_label.defined(); }
};

/// A request on its way; the engine's thread alone touches its state.
struct RunningRequest {
  uint64_t id;
  SampleRequest asked;
  EngineClock::time_point submitted;

  bool running = false;
  bool on_device = false;  // DeviceRunner takes its steps
  size_t step = 0;    // done
  at::Tensor x{};     // x_t [1, C, H, W], written in place by each step; undefined until it begins
  at::Tensor z{};     // the coming step's noise, where it draws some and Philox does not make it in registers
  at::Tensor x0{};    // the last step's x̂_0, where a preview of it is due
  std::exception_ptr error{};

  const PlannedStep& next() const { return asked.plan->steps[step]; }
  bool begun() const { return x.defined(); }
  bool done() const { return step == asked.plan->steps.size(); }
  bool preview_due() const {
    return asked.preview_every > 0 && (step + 1) % static_cast<size_t>(asked.preview_every) == 0;
  }
};

/// What a step took, in the model.
struct StepTime {
  BatchKey key;
  int64_t samples;
  double seconds;
};

/// What becomes of requests: each accepted one ends with one `done` or `failed`. `room`: the queue has a place again, after a
/// request was refused.
struct EngineEvent {
  enum class Kind { step, done, failed, room, warmed, closed };
  Kind kind;
  uint64_t id = 0;
  int64_t step = 0, total_steps = 0, timestep = 0;  // step
  at::Tensor output{};                              // done; step: the preview, where one is due
  std::exception_ptr error{};                       // failed
  double milliseconds = 0;                          // done, failed: since it was submitted
};

}  // namespace nd
