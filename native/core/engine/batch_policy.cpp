#include "core/engine/batch_policy.h"

#include <algorithm>

namespace nd {
namespace {

/// Shapes whose costs are remembered without a request of theirs.
constexpr size_t kMaxLines = 64;

/// What a batch may lose of the best time per sample: where many wait, and where few do.
constexpr double kToleranceFull = 0.02, kToleranceFew = 0.2;

/// Every so many steps a larger batch is tried.
constexpr int64_t kTryEvery = 64;

/// Every so many steps a limit that lack of memory has set is doubled: others may have given theirs back.
constexpr int64_t kRaiseEvery = 1024;

}  // namespace

BatchPolicy::Line& BatchPolicy::line_of(BatchKey key) {
  const auto found = lines_.find(key);
  if (found != lines_.end()) return found->second;
  forget_idle_lines();
  auto& line = lines_[key];
  line.most = line.knee_full = line.knee_few = most_of(key);
  return line;
}

void BatchPolicy::forget_idle_lines() {
  if (lines_.size() < kMaxLines) return;
  std::erase_if(lines_, [](const auto& entry) { return entry.second.ranks.empty(); });
}

void BatchPolicy::add(uint64_t id, BatchKey key, int64_t priority) {
  auto& line = line_of(key);
  if (line.ranks.empty()) line.served = std::max(line.served, clock_);
  line.ranks.insert({priority, id});
  requests_.emplace(id, Place{key, priority});
}

void BatchPolicy::remove(uint64_t id) {
  const auto found = requests_.find(id);
  if (found == requests_.end()) return;
  lines_.at(found->second.key).ranks.erase({found->second.priority, id});
  requests_.erase(found);
}

int64_t BatchPolicy::batch_of(const Line& line) const {
  const auto waiting = static_cast<int64_t>(line.ranks.size());
  if (waiting > line.knee_full && line.steps % kTryEvery == kTryEvery - 1) {
    return std::min({waiting, line.most, 2 * line.knee_full});
  }
  return std::min({waiting, line.knee_full, std::max(line.knee_few, (waiting + 1) / 2)});
}

BatchPolicy::Batch BatchPolicy::select() const {
  const std::pair<const BatchKey, Line>* next = nullptr;
  for (const auto& entry : lines_) {
    if (entry.second.ranks.empty()) continue;
    const auto priority = entry.second.ranks.begin()->priority;
    const auto best = next == nullptr ? priority : next->second.ranks.begin()->priority;
    if (next == nullptr || priority > best || (priority == best && entry.second.served < next->second.served)) next = &entry;
  }
  if (next == nullptr) return {};
  Batch batch{next->first, {}};
  const auto count = static_cast<size_t>(batch_of(next->second));
  for (auto rank = next->second.ranks.begin(); batch.ids.size() < count; ++rank) batch.ids.push_back(rank->id);
  return batch;
}

void BatchPolicy::ran(BatchKey key, int64_t batch, double seconds) {
  auto& line = line_of(key);
  if (++line.steps % kRaiseEvery == 0) line.most = std::min(2 * line.most, most_of(key));
  lost(key, seconds);
  measured(key, batch, seconds);
}

void BatchPolicy::lost(BatchKey key, double seconds) {
  auto& line = line_of(key);
  clock_ = std::max(clock_, line.served);
  line.served += seconds;
}

void BatchPolicy::measured(BatchKey key, int64_t batch, double seconds) {
  auto& line = line_of(key);
  line.costs.record(batch, seconds);
  find_knees(line);
}

void BatchPolicy::allow_at_most(BatchKey key, int64_t requests) {
  auto& line = line_of(key);
  line.most = std::min(line.most, requests);
  find_knees(line);
}

void BatchPolicy::find_knees(Line& line) {
  line.knee_full = line.costs.knee(line.most, kToleranceFull);
  line.knee_few = line.costs.knee(line.most, kToleranceFew);
}

int64_t BatchPolicy::limit(BatchKey key) const {
  const auto found = lines_.find(key);
  return found == lines_.end() ? most_of(key) : found->second.knee_full;
}

}  // namespace nd
