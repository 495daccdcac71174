#pragma once

#include <deque>
#include <vector>

#include "core/engine/request.h"

namespace nd {

struct EngineStats {
  int64_t queued = 0;         // accepted, not begun
  int64_t running = 0;        // begun
  int64_t max_batch = 0;
  int64_t batch_limit = 0;    // the cap of the last batch's shape, in samples of the model's: its measured knee
  int64_t steps = 0;          // batches run
  int64_t sample_steps = 0;   // requests in them
  int64_t images = 0;         // requests done
  int64_t failed = 0;         // all others that ended
  double samples_per_step = 0;         // of the model's, in the last kWindow
  double sample_steps_per_second = 0;
  double images_per_second = 0;
  double p50 = 0, p95 = 0, p99 = 0;    // milliseconds from submission to the end, of the last kLatencies images
  double unet_seconds = 0;    // in the model
  double busy_seconds = 0;    // of the loop, from waking to waiting for requests; waiting for threads left out
};

/// Counts what the engine does. Not synchronised.
class EngineMeter {
 public:
  static constexpr auto kWindow = std::chrono::seconds(10);
  static constexpr size_t kLatencies = 1024;

  explicit EngineMeter(EngineClock::time_point now) : start_(now) {}

  /// One batch; of a request with guidance the model sees two samples.
  void ran(int64_t requests, int64_t samples, EngineClock::time_point now);
  void took(double unet_seconds) { counts_.unet_seconds += unet_seconds; }
  void busy(double seconds) { counts_.busy_seconds += seconds; }
  void done(double milliseconds, EngineClock::time_point now);
  void failed() { ++counts_.failed; }

  /// Everything but what the queue knows.
  EngineStats read(EngineClock::time_point now) const;

 private:
  struct Entry {
    EngineClock::time_point at;
    int64_t steps, samples, sample_steps, images;
  };
  void note(Entry entry);

  EngineClock::time_point start_;
  EngineStats counts_;
  std::deque<Entry> window_;
  std::vector<double> latencies_;  // a ring
  size_t oldest_ = 0;
};

}  // namespace nd
