#pragma once

#include <memory>
#include <optional>
#include <vector>

#include "core/schedulers/noise_scheduler.h"

namespace nd {

/// One step of a request: the UNet's input t, and the jump's coefficients.
struct PlannedStep {
  int64_t timestep;
  StepRow row;
  bool draws_noise;
};

/// Every step of a request, worked out before it is queued: what no scheduler can do is refused there, and the loop does no
/// scheduler's arithmetic. Requests of the same scheduler, timesteps and η share one.
struct DenoisingPlan {
  std::shared_ptr<const NoiseScheduler> scheduler;
  std::vector<PlannedStep> steps;
  std::optional<DynamicThreshold> threshold;
};

struct PlanOptions {
  double eta = 0;  // DDIM
  bool use_clipped_model_output = false;
  /// The first of the scheduler's timesteps that is gone through; those before it are skipped (image-to-image).
  size_t first_step = 0;
};

/// The plan over the scheduler's timesteps, which must not be set again. Throws ERR_TIMESTEP, ERR_CONFIG or ERR_ARGUMENT
/// for a step that the scheduler can't make.
std::shared_ptr<const DenoisingPlan> make_plan(std::shared_ptr<const NoiseScheduler> scheduler, const PlanOptions& options);

}  // namespace nd
