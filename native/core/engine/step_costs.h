#pragma once

#include <cstdint>
#include <map>

namespace nd {

/// What a step of so many samples takes, as measured: nearly linear in them, so a few sizes tell the others.
class StepCosts {
 public:
  void record(int64_t batch, double seconds);

  /// Seconds; between measured sizes and beyond them along straight lines. 0 before anything was measured.
  double estimate(int64_t batch) const;

  /// The knee: the smallest batch whose time per sample is within `tolerance` of the best up to `most`. Beyond it a larger
  /// batch makes its samples wait for one another and gains little. `most` until two sizes were measured.
  int64_t knee(int64_t most, double tolerance) const;

 private:
  std::map<int64_t, double> seconds_;
};

}  // namespace nd
