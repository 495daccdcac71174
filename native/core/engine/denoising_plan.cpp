#include "core/engine/denoising_plan.h"

#include "core/errors.h"

namespace nd {

std::shared_ptr<const DenoisingPlan> make_plan(std::shared_ptr<const NoiseScheduler> scheduler, const PlanOptions& options) {
  const auto& timesteps = scheduler->timesteps();
  if (options.first_step >= timesteps.size()) {
    fail(ErrorCode::argument, "first_step must be below the number of timesteps ", timesteps.size(), ", got ",
         options.first_step);
  }
  auto plan = std::make_shared<DenoisingPlan>();
  plan->steps.reserve(timesteps.size() - options.first_step);
  for (size_t i = options.first_step; i < timesteps.size(); ++i) {
    const auto t = timesteps[i];
    const auto rows = scheduler->rows(
        {.timesteps = {t}, .prev_timesteps = {}, .eta = {options.eta},
         .use_clipped_model_output = options.use_clipped_model_output}, 1);
    plan->steps.push_back({t, rows.front(), scheduler->draws_noise(t, options.eta)});
  }
  const auto& config = scheduler->config();
  if (config.thresholding) plan->threshold = {config.dynamic_thresholding_ratio, config.sample_max_value};
  plan->scheduler = std::move(scheduler);
  return plan;
}

}  // namespace nd
