#include "core/engine/batch_policy.h"

#include <algorithm>
#include <limits>

namespace nd {
namespace {

/// Shapes whose costs are remembered without a request of theirs.
constexpr size_t kMaxLines = 64;

}  // namespace

BatchPolicy::Line& BatchPolicy::line_of(SampleShape shape) {
  const auto found = lines_.find(shape);
  if (found != lines_.end()) return found->second;
  forget_idle_lines();
  auto& line = lines_[shape];
  line.knee = max_batch_;
  return line;
}

void BatchPolicy::forget_idle_lines() {
  if (lines_.size() < kMaxLines) return;
  std::erase_if(lines_, [](const auto& entry) { return entry.second.ranks.empty(); });
}

void BatchPolicy::add(uint64_t id, SampleShape shape, int64_t priority) {
  auto& line = line_of(shape);
  if (line.ranks.empty()) {
    // A shape that was away has no claim to the time that others had meanwhile.
    double least = std::numeric_limits<double>::infinity();
    for (const auto& [_, other] : lines_) {
      if (!other.ranks.empty()) least = std::min(least, other.served);
    }
    if (least != std::numeric_limits<double>::infinity()) line.served = std::max(line.served, least);
  }
  line.ranks.insert({priority, id});
  requests_.emplace(id, Place{shape, priority});
}

void BatchPolicy::remove(uint64_t id) {
  const auto found = requests_.find(id);
  if (found == requests_.end()) return;
  lines_.at(found->second.shape).ranks.erase({found->second.priority, id});
  requests_.erase(found);
}

BatchPolicy::Batch BatchPolicy::select() const {
  const std::pair<const SampleShape, Line>* next = nullptr;
  for (const auto& entry : lines_) {
    if (entry.second.ranks.empty()) continue;
    const auto priority = entry.second.ranks.begin()->priority;
    const auto best = next == nullptr ? priority : next->second.ranks.begin()->priority;
    if (next == nullptr || priority > best || (priority == best && entry.second.served < next->second.served)) next = &entry;
  }
  if (next == nullptr) return {};
  Batch batch{next->first, {}};
  for (const auto& rank : next->second.ranks) {
    if (static_cast<int64_t>(batch.ids.size()) == next->second.knee) break;
    batch.ids.push_back(rank.id);
  }
  return batch;
}

void BatchPolicy::ran(SampleShape shape, int64_t batch, double seconds) {
  line_of(shape).served += seconds;
  measured(shape, batch, seconds);
}

void BatchPolicy::measured(SampleShape shape, int64_t batch, double seconds) {
  auto& line = line_of(shape);
  line.costs.record(batch, seconds);
  line.knee = line.costs.knee(max_batch_);
}

int64_t BatchPolicy::limit(SampleShape shape) const {
  const auto found = lines_.find(shape);
  return found == lines_.end() ? max_batch_ : found->second.knee;
}

}  // namespace nd
