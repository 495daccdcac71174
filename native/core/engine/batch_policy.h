#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <map>
#include <set>
#include <unordered_map>
#include <vector>

#include "core/engine/step_costs.h"

namespace nd {

/// What requests must have in common to share a batch: [C, H, W] of their samples, the kind of their class labels, whether
/// they go the plain way (on CUDA), and whether they are guided.
using BatchKey = std::array<int64_t, 6>;

/// Samples that the model sees for one request: with classifier-free guidance also that of the null class.
inline int64_t rows_per_request(const BatchKey& key) { return 1 + key[5]; }

/// Which requests take the next step together. It knows neither tensors nor clocks: what it is told, it decides upon.
///
/// - Of one shape, higher priorities go first, then older requests (ids count up): a request that has begun is finished
///   before a younger one begins, which with a full batch gives the shortest times to the end.
/// - Of n requests min(n, K_full, max(K_few, ⌈n/2⌉)) share a step, K being the shape's knees (StepCosts): where few wait a
///   larger batch would only slow the older ones, where many do the time per sample counts. K_full ≤ max_batch, or half of it
///   where each is two samples of the model's, but 1 at least.
/// - Now and then, where enough wait, a batch is twice as large: what a size took once, among other processes, is not
///   believed for ever.
/// - Shapes take turns by the time they have had (stride scheduling, Waldspurger & Weihl 1995): each gets its share of the
///   time however dear its steps are, and what one had before it was idle counts for nothing. A higher priority comes
///   before any turn.
class BatchPolicy {
 public:
  explicit BatchPolicy(int64_t max_batch) : max_batch_(max_batch) {}

  void add(uint64_t id, BatchKey key, int64_t priority);
  /// A request that is done, failed or cancelled; an unknown id is none.
  void remove(uint64_t id);

  struct Batch {
    BatchKey key;
    std::vector<uint64_t> ids;  // the first goes first
  };
  /// The next batch; empty where there is no request.
  Batch select() const;
  /// What the step of a batch took; the key has had this time.
  void ran(BatchKey key, int64_t batch, double seconds);
  /// Time that a key has had in vain: its batch failed.
  void lost(BatchKey key, double seconds);
  /// What a step takes, without any request's having it.
  void measured(BatchKey key, int64_t batch, double seconds);

  /// Batches of a key have no more requests for some thousand steps: there is too little memory for more.
  void allow_at_most(BatchKey key, int64_t requests);

  bool empty() const { return requests_.empty(); }
  size_t size() const { return requests_.size(); }
  /// How many requests of a key a batch has at most, however many wait.
  int64_t limit(BatchKey key) const;

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
    int64_t most;  // requests in a batch
    std::set<Rank> ranks;
    double served = 0;  // seconds
    int64_t steps = 0;
    StepCosts costs;
    int64_t knee_full, knee_few;
  };
  struct Place {
    BatchKey key;
    int64_t priority;
  };
  int64_t most_of(const BatchKey& key) const { return std::max<int64_t>(1, max_batch_ / rows_per_request(key)); }
  Line& line_of(BatchKey key);
  static void find_knees(Line& line);
  int64_t batch_of(const Line& line) const;
  void forget_idle_lines();

  int64_t max_batch_;
  std::map<BatchKey, Line> lines_;
  double clock_ = 0;  // what the line that ran last had had before
  std::unordered_map<uint64_t, Place> requests_;
};

}  // namespace nd
