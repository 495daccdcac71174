#include "core/engine/step_costs.h"

#include "check.h"

using nd::StepCosts;

TEST("nothing measured: no estimate, and no cap") {
  const StepCosts costs;
  EXPECT_EQUAL(costs.estimate(8), 0.0);
  EXPECT_EQUAL(costs.knee(64, 0.02), int64_t{64});
}

TEST("between and beyond measured sizes along straight lines") {
  StepCosts costs;
  costs.record(4, 8.0);
  EXPECT_EQUAL(costs.estimate(2), 8.0);   // no cheaper than the smallest known
  EXPECT_EQUAL(costs.estimate(8), 16.0);  // in proportion, from one size alone
  costs.record(8, 12.0);
  EXPECT_EQUAL(costs.estimate(6), 10.0);
  EXPECT_EQUAL(costs.estimate(16), 20.0);
  costs.record(16, 11.0);
  EXPECT_EQUAL(costs.estimate(32), 11.0);  // never below the largest
}

TEST("the knee is the smallest batch within 2 % of the best time per sample") {
  StepCosts costs;
  for (const int64_t batch : {1, 2, 4, 8, 16, 32, 64}) costs.record(batch, 1.0 + static_cast<double>(batch));
  // 1/b + 1 against 1/64 + 1: within 2 % from b = 28 up.
  EXPECT_EQUAL(costs.knee(64, 0.02), int64_t{28});
  EXPECT_EQUAL(costs.knee(16, 0.02), int64_t{12});
  EXPECT_EQUAL(costs.knee(1, 0.02), int64_t{1});
  EXPECT_EQUAL(costs.knee(64, 0.2), int64_t{5});  // 1/b + 1 ≤ 1.2·(1/64 + 1) from b = 4.6 up
}

TEST("a size that is worse per sample than a smaller one is not used") {
  StepCosts costs;
  costs.record(1, 2.0);
  costs.record(8, 8.0);
  costs.record(64, 128.0);
  EXPECT_EQUAL(costs.knee(64, 0.02), int64_t{8});
}

TEST("the largest size is the knee where no smaller one comes near it") {
  StepCosts costs;
  costs.record(1, 1.0);
  costs.record(8, 1.0);
  EXPECT_EQUAL(costs.knee(8, 0.02), int64_t{8});
}

TEST("two sizes known: a larger one is tried, and then known") {
  StepCosts costs;
  costs.record(1, 8.5);
  costs.record(2, 12.5);
  const auto tried = costs.knee(64, 0.02);
  EXPECT(tried > 8 && tried < 64);
  costs.record(tried, 8.5 * static_cast<double>(tried));
  EXPECT(costs.knee(64, 0.02) < tried);
}

TEST("a slow first run is forgotten at once, a slow later one hardly counts") {
  StepCosts costs;
  costs.record(4, 100.0);
  costs.record(4, 10.0);
  EXPECT_EQUAL(costs.estimate(4), 10.0);
  costs.record(4, 100.0);
  EXPECT(costs.estimate(4) < 20.0);
}
