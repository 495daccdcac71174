#include "core/engine/step_costs.h"

#include <algorithm>
#include <iterator>
#include <limits>

namespace nd {
namespace {

double on_line(int64_t batch, std::pair<const int64_t, double> a, std::pair<const int64_t, double> b) {
  const double slope = (b.second - a.second) / static_cast<double>(b.first - a.first);
  return a.second + slope * static_cast<double>(batch - a.first);
}

}  // namespace

void StepCosts::record(int64_t batch, double seconds) {
  const auto [entry, first] = seconds_.emplace(batch, seconds);
  if (first) return;
  // Another process, or a first run's set-up, makes a step slower, never faster: down at once, up slowly.
  entry->second += (seconds < entry->second ? 1.0 : 0.1) * (seconds - entry->second);
}

double StepCosts::estimate(int64_t batch) const {
  if (seconds_.empty()) return 0;
  const auto above = seconds_.lower_bound(batch);
  if (above != seconds_.end() && above->first == batch) return above->second;
  // No step is cheaper than the smallest one measured: what it costs besides its samples is not known below.
  if (above == seconds_.begin()) return above->second;
  const auto below = std::prev(above);
  if (above != seconds_.end()) return on_line(batch, *below, *above);
  if (seconds_.size() == 1) return below->second * static_cast<double>(batch) / static_cast<double>(below->first);
  return std::max(on_line(batch, *std::prev(below), *below), below->second);
}

int64_t StepCosts::knee(int64_t most, double tolerance) const {
  if (seconds_.size() < 2) return most;
  double best = std::numeric_limits<double>::infinity();
  for (int64_t batch = 1; batch <= most; ++batch) best = std::min(best, estimate(batch) / static_cast<double>(batch));
  for (int64_t batch = 1; batch < most; ++batch) {
    if (estimate(batch) / static_cast<double>(batch) <= (1 + tolerance) * best) return batch;
  }
  return most;
}

}  // namespace nd
