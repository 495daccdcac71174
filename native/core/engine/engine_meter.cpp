#include "core/engine/engine_meter.h"

#include <algorithm>
#include <cmath>

namespace nd {
namespace {

/// The nearest-rank percentile of sorted values; 0 of none.
double percentile(const std::vector<double>& sorted, double fraction) {
  if (sorted.empty()) return 0;
  const auto rank = static_cast<size_t>(std::ceil(fraction * static_cast<double>(sorted.size())));
  return sorted[std::max<size_t>(rank, 1) - 1];
}

/// One window's entries are put together, so that their number stays bounded however short the steps are.
constexpr auto kGrain = std::chrono::milliseconds(50);

}  // namespace

void EngineMeter::note(Entry entry) {
  if (!window_.empty() && entry.at - window_.back().at < kGrain) {
    window_.back().steps += entry.steps;
    window_.back().samples += entry.samples;
    window_.back().sample_steps += entry.sample_steps;
    window_.back().images += entry.images;
  } else {
    window_.push_back(entry);
  }
  while (entry.at - window_.front().at > kWindow) window_.pop_front();
}

void EngineMeter::ran(int64_t requests, int64_t samples, EngineClock::time_point now) {
  ++counts_.steps;
  counts_.sample_steps += requests;
  note({now, 1, samples, requests, 0});
}

void EngineMeter::done(double milliseconds, EngineClock::time_point now) {
  ++counts_.images;
  note({now, 0, 0, 0, 1});
  if (latencies_.size() < kLatencies) {
    latencies_.push_back(milliseconds);
    return;
  }
  latencies_[oldest_] = milliseconds;
  oldest_ = (oldest_ + 1) % kLatencies;
}

EngineStats EngineMeter::read(EngineClock::time_point now) const {
  auto stats = counts_;
  int64_t steps = 0, samples = 0, sample_steps = 0, images = 0;
  for (const auto& entry : window_) {
    if (now - entry.at > kWindow) continue;
    steps += entry.steps;
    samples += entry.samples;
    sample_steps += entry.sample_steps;
    images += entry.images;
  }
  if (steps > 0) stats.samples_per_step = static_cast<double>(samples) / static_cast<double>(steps);
  const double seconds = std::chrono::duration<double>(std::min<EngineClock::duration>(kWindow, now - start_)).count();
  if (seconds > 0) {
    stats.sample_steps_per_second = static_cast<double>(sample_steps) / seconds;
    stats.images_per_second = static_cast<double>(images) / seconds;
  }
  auto sorted = latencies_;
  std::sort(sorted.begin(), sorted.end());
  stats.p50 = percentile(sorted, 0.50);
  stats.p95 = percentile(sorted, 0.95);
  stats.p99 = percentile(sorted, 0.99);
  return stats;
}

}  // namespace nd
