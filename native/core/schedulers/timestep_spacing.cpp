#include "core/schedulers/timestep_spacing.h"

#include <algorithm>
#include <cmath>

#include "core/errors.h"

namespace nd {
namespace {

// The names are those of Table 2 of Lin et al. 2023 (arXiv:2305.08891). Each returns an ascending list.
// std::nearbyint rounds half to even, as NumPy's round does.

std::vector<int64_t> leading(int64_t T, int64_t n, int64_t offset) {
  std::vector<int64_t> list(n);
  for (int64_t i = 0; i < n; ++i) list[i] = i * (T / n) + offset;
  return list;
}

/// np.linspace(0, T − 1, n), rounded; its last entry is exact by definition.
std::vector<int64_t> linspace(int64_t T, int64_t n) {
  std::vector<int64_t> list(n, 0);
  if (n == 1) return list;
  const double step = static_cast<double>(T - 1) / static_cast<double>(n - 1);
  for (int64_t i = 0; i < n; ++i) list[i] = static_cast<int64_t>(std::nearbyint(static_cast<double>(i) * step));
  list.back() = T - 1;
  return list;
}

/// np.arange(T, 0, −T/n), rounded, less one. NumPy steps by (start + δ) − start, which differs from δ in the last bits.
/// Differs from diffusers: for some n NumPy yields an (n+1)-th entry, −1 after the subtraction; the list ends at n.
std::vector<int64_t> trailing(int64_t T, int64_t n) {
  const double start = static_cast<double>(T);
  const double delta = (start - start / static_cast<double>(n)) - start;
  std::vector<int64_t> list(n);
  for (int64_t i = 0; i < n; ++i) {
    list[n - 1 - i] = static_cast<int64_t>(std::nearbyint(start + static_cast<double>(i) * delta)) - 1;
  }
  return list;
}

/// DDIM (arXiv:2010.02502), section D.2: τ_i = ⌊c i²⌋ with c such that the last is near 0.8 T; made strictly ascending.
std::vector<int64_t> quadratic(int64_t T, int64_t n) {
  std::vector<int64_t> list(n, 0);
  if (n == 1) return list;
  for (int64_t i = 0; i < n; ++i) {
    const double root = static_cast<double>(i) * std::sqrt(0.8 * static_cast<double>(T)) / static_cast<double>(n - 1);
    list[i] = static_cast<int64_t>(std::floor(root * root));
    if (i > 0) list[i] = std::max(list[i], list[i - 1] + 1);
  }
  return list;
}

std::vector<int64_t> ascending(TimestepSpacing spacing, int64_t T, int64_t n, int64_t offset) {
  switch (spacing) {
    case TimestepSpacing::leading: return leading(T, n, offset);
    case TimestepSpacing::trailing: return trailing(T, n);
    case TimestepSpacing::linspace: return linspace(T, n);
    case TimestepSpacing::quadratic: return quadratic(T, n);
  }
  fail(ErrorCode::config, "timestepSpacing has an unknown value");
}

}  // namespace

std::vector<int64_t> spaced_timesteps(TimestepSpacing spacing, int64_t T, int64_t n, int64_t steps_offset) {
  if (n < 1 || n > T) {
    fail(ErrorCode::timestep, "numInferenceSteps must be an integer in 1 … ", T, " (numTrainTimesteps), got ", n);
  }
  auto list = ascending(spacing, T, n, steps_offset);
  if (list.front() < 0 || list.back() >= T) {
    fail(ErrorCode::timestep, "numInferenceSteps ", n, " with stepsOffset ", steps_offset, " gives timesteps ",
         list.front(), " … ", list.back(), ", which must lie in 0 … ", T - 1);
  }
  std::reverse(list.begin(), list.end());
  return list;
}

void check_custom_timesteps(const std::vector<int64_t>& timesteps, int64_t T, bool ascending) {
  if (timesteps.empty()) fail(ErrorCode::timestep, "timesteps must not be empty");
  for (size_t i = 0; i < timesteps.size(); ++i) {
    const auto t = timesteps[i];
    if (t < 0 || t >= T) fail(ErrorCode::timestep, "timesteps must lie in 0 … ", T - 1, ", got ", t, " at index ", i);
    if (i == 0) continue;
    const auto before = timesteps[i - 1];
    if (ascending ? t <= before : t >= before) {
      fail(ErrorCode::timestep, "timesteps must be strictly ", ascending ? "ascending" : "descending", ", got ", before,
           " before ", t, " at index ", i);
    }
  }
}

}  // namespace nd
