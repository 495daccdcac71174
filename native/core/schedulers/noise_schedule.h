#pragma once

#include <vector>

#include "core/schedulers/scheduler_config.h"

namespace nd {

/// The tables of the forward process q(x_t | x_0) = N(√ᾱ_t x_0, (1 − ᾱ_t) I): float32, from the ATen calls that
/// diffusers makes, in its order, so that they are its tables to the bit.
struct NoiseSchedule {
  std::vector<float> betas;           // β_t
  std::vector<float> alphas;          // α_t = 1 − β_t
  std::vector<float> alphas_cumprod;  // ᾱ_t = ∏_{i ≤ t} α_i
};

/// Throws ERR_CONFIG where the tables would not be finite.
NoiseSchedule make_noise_schedule(const SchedulerConfig& config);

}  // namespace nd
