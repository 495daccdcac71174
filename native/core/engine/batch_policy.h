#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <set>
#include <unordered_map>
#include <vector>

#include "core/engine/step_costs.h"

namespace nd {

/// [C, H, W] of a request's sample: requests of one shape share a batch.
using SampleShape = std::array<int64_t, 3>;

/// Which requests take the next step together. It knows neither tensors nor clocks: what it is told, it decides upon.
///
/// - Of one shape, higher priorities go first, then older requests (ids count up): a request that has begun is finished
///   before a younger one begins, which with a full batch gives the shortest times to the end.
/// - Of n requests min(n, K_full, max(K_few, ⌈n/2⌉)) share a step, K being the shape's knees (StepCosts): where few wait a
///   larger batch would only slow the older ones, where many do the time per sample counts. K_full ≤ max_batch.
/// - Now and then, where enough wait, a batch is twice as large: what a size took once, among other processes, is not
///   believed for ever.
/// - Shapes take turns by the time they have had (stride scheduling, Waldspurger & Weihl 1995): each gets its share of the
///   time however dear its steps are. A higher priority comes before any turn.
class BatchPolicy {
 public:
  explicit BatchPolicy(int64_t max_batch) : max_batch_(max_batch) {}

  void add(uint64_t id, SampleShape shape, int64_t priority);
  /// A request that is done, failed or cancelled; an unknown id is none.
  void remove(uint64_t id);

  struct Batch {
    SampleShape shape;
    std::vector<uint64_t> ids;  // the first goes first
  };
  /// The next batch; empty where there is no request.
  Batch select() const;
  /// What the step of a batch took; the shape has had this time.
  void ran(SampleShape shape, int64_t batch, double seconds);
  /// What a step takes, without any request's having it.
  void measured(SampleShape shape, int64_t batch, double seconds);

  bool empty() const { return requests_.empty(); }
  size_t size() const { return requests_.size(); }
  /// How many samples of a shape a batch has at most, however many wait.
  int64_t limit(SampleShape shape) const;

 private:
  struct Rank {
    int64_t priority;
    uint64_t id;
    auto operator<=>(const Rank& other) const {
      if (const auto by_priority = other.priority <=> priority; by_priority != 0) return by_priority;
      return id <=> other.id;
    }
    bool operator==(const Rank&) const = default;
  };
  struct Line {
    std::set<Rank> ranks;
    double served = 0;  // seconds
    int64_t steps = 0;
    StepCosts costs;
    int64_t knee_full, knee_few;
  };
  struct Place {
    SampleShape shape;
    int64_t priority;
  };
  Line& line_of(SampleShape shape);
  int64_t batch_of(const Line& line) const;
  void forget_idle_lines();

  int64_t max_batch_;
  std::map<SampleShape, Line> lines_;
  std::unordered_map<uint64_t, Place> requests_;
};

}  // namespace nd
