#pragma once

#include <cstdint>
#include <vector>

#include "core/schedulers/scheduler_config.h"

namespace nd {

/// The n timesteps of [0, T), descending, that a spacing chooses. Throws ERR_TIMESTEP for n outside 1 … T and for a list
/// that leaves [0, T).
std::vector<int64_t> spaced_timesteps(TimestepSpacing spacing, int64_t T, int64_t n, int64_t steps_offset);

/// Throws ERR_TIMESTEP unless the list is non-empty, strictly descending (or ascending) and inside [0, T).
void check_custom_timesteps(const std::vector<int64_t>& timesteps, int64_t T, bool ascending);

}  // namespace nd
