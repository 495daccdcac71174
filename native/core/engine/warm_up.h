#pragma once

#include <atomic>
#include <deque>
#include <optional>
#include <vector>

#include "core/engine/batch_runner.h"
#include "core/engine/request.h"

namespace nd {

/// Batch sizes to be timed for the policy.
struct WarmUp {
  uint64_t id;
  SampleShape shape;
  bool guided;
  std::vector<int64_t> batch_sizes;
};

/// Those that were asked for, in order.
class WarmUps {
 public:
  void add(WarmUp warm_up) { queue_.push_back(std::move(warm_up)); }
  bool empty() const { return queue_.empty(); }
  const WarmUp& front() const { return queue_.front(); }

  /// Times one batch size of the first, so that requests go on between two. Gives the event of one that ended; none once
  /// `closing` has turned true.
  std::optional<EngineEvent> run_one(BatchRunner& runner, BatchPolicy& policy, const std::atomic<bool>& closing);
  void fail_all(const std::exception_ptr& error, std::vector<EngineEvent>& events);

 private:
  std::deque<WarmUp> queue_;
};

}  // namespace nd
