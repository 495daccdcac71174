#include "core/engine/engine_meter.h"

#include "check.h"

using namespace nd;
using std::chrono::milliseconds;

TEST("percentiles are of the last 1024 images, by nearest rank") {
  const auto start = EngineClock::now();
  EngineMeter meter(start);
  EXPECT_EQUAL(meter.read(start).p95, 0.0);
  for (int i = 1; i <= 100; ++i) meter.done(i, start);
  auto stats = meter.read(start + milliseconds(1));
  EXPECT_EQUAL(stats.p50, 50.0);
  EXPECT_EQUAL(stats.p95, 95.0);
  EXPECT_EQUAL(stats.p99, 99.0);
  for (int i = 0; i < 1024; ++i) meter.done(7, start);
  stats = meter.read(start);
  EXPECT_EQUAL(stats.p50, 7.0);
  EXPECT_EQUAL(stats.p99, 7.0);
  EXPECT_EQUAL(stats.images, int64_t{1124});
}

TEST("rates are of the last ten seconds") {
  const auto start = EngineClock::now();
  EngineMeter meter(start);
  for (int i = 0; i < 2000; ++i) {  // 20 s of 8 samples, of 4 requests, each 10 ms
    const auto now = start + milliseconds(10 * (i + 1));
    meter.ran(4, 8, now);
    meter.took(0.008);
    meter.busy(0.009);
    if (i % 10 == 0) meter.done(1, now);
  }
  const auto stats = meter.read(start + milliseconds(20000));
  EXPECT_NEAR(stats.sample_steps_per_second, 400.0, 5.0);
  EXPECT_NEAR(stats.images_per_second, 10.0, 0.2);
  EXPECT_NEAR(stats.samples_per_step, 8.0, 1e-9);
  EXPECT_EQUAL(stats.steps, int64_t{2000});
  EXPECT_EQUAL(stats.sample_steps, int64_t{8000});
  EXPECT_NEAR(stats.unet_seconds, 16.0, 1e-6);
  EXPECT_NEAR(stats.busy_seconds, 18.0, 1e-6);
  EXPECT_EQUAL(meter.read(start + milliseconds(40000)).images_per_second, 0.0);
}

TEST("before ten seconds are over, rates are of the time that has passed") {
  const auto start = EngineClock::now();
  EngineMeter meter(start);
  meter.ran(4, 8, start + milliseconds(1000));
  meter.done(1, start + milliseconds(1000));
  const auto stats = meter.read(start + milliseconds(2000));
  EXPECT_NEAR(stats.sample_steps_per_second, 2.0, 1e-9);
  EXPECT_NEAR(stats.images_per_second, 0.5, 1e-9);
}
