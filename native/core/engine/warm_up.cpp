#include "core/engine/warm_up.h"

#include <algorithm>
#include <limits>

namespace nd {
namespace {

/// Runs of each batch size. The first sets things up that later ones find; of those the best is the one least disturbed.
constexpr int kRuns = 4;

}  // namespace

std::optional<EngineEvent> WarmUps::run_one(BatchRunner& runner, BatchPolicy& policy,
                                            const std::atomic<bool>& closing) {
  auto& warm_up = queue_.front();
  EngineEvent event{.kind = EngineEvent::Kind::warmed, .id = warm_up.id};
  try {
    if (!warm_up.batch_sizes.empty()) {
      const auto key = runner.trial_key(warm_up.shape, warm_up.guided);
      const auto batch = warm_up.batch_sizes.front();
      warm_up.batch_sizes.erase(warm_up.batch_sizes.begin());
      double best = std::numeric_limits<double>::infinity();
      for (int run = 0; run < kRuns && !closing; ++run) {
        const double seconds = runner.trial(key, batch, closing);
        if (run > 0) best = std::min(best, seconds);
      }
      if (!closing) policy.measured(key, batch, best);
    }
  } catch (...) {
    event.kind = EngineEvent::Kind::failed;
    event.error = std::current_exception();
    warm_up.batch_sizes.clear();
  }
  if (closing || !warm_up.batch_sizes.empty()) return std::nullopt;
  queue_.pop_front();
  return event;
}

void WarmUps::fail_all(const std::exception_ptr& error, std::vector<EngineEvent>& events) {
  for (const auto& warm_up : queue_) {
    events.push_back({.kind = EngineEvent::Kind::failed, .id = warm_up.id, .error = error});
  }
  queue_.clear();
}

}  // namespace nd
