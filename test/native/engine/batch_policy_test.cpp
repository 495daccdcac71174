#include "core/engine/batch_policy.h"

#include <algorithm>
#include <map>
#include <random>

#include "check.h"

using nd::BatchPolicy;
using nd::BatchKey;
using nd::rows_per_request;

namespace {

constexpr BatchKey kSmall{3, 32, 32}, kLarge{3, 64, 64};
using Ids = std::vector<uint64_t>;

}  // namespace

TEST("the oldest go first, up to the largest batch") {
  BatchPolicy policy(3);
  EXPECT(policy.empty() && policy.select().ids.empty());
  for (const uint64_t id : {7, 2, 9, 4, 5}) policy.add(id, kSmall, 0);
  EXPECT(policy.select().ids == (Ids{2, 4, 5}));
  policy.remove(4);
  policy.remove(1000);
  EXPECT(policy.select().ids == (Ids{2, 5, 7}));
  EXPECT_EQUAL(policy.size(), size_t{4});
}

TEST("requests that are two samples each make batches of half as many, by themselves") {
  constexpr BatchKey guided{3, 32, 32, -1, 0, 1};
  EXPECT_EQUAL(rows_per_request(kSmall), int64_t{1});
  EXPECT_EQUAL(rows_per_request(guided), int64_t{2});
  EXPECT_EQUAL(BatchPolicy(8).limit(guided), int64_t{4});  // of which nothing is known yet
  for (const auto& [most, wanted] : std::map<int64_t, int64_t>{{1, 1}, {2, 1}, {5, 2}, {8, 4}}) {
    BatchPolicy policy(most);
    for (uint64_t id = 0; id < 20; ++id) policy.add(id, guided, 0);
    for (uint64_t id = 20; id < 40; ++id) policy.add(id, kSmall, 0);
    EXPECT_EQUAL(policy.limit(guided), wanted);
    const auto batch = policy.select();
    EXPECT(batch.key == guided);
    EXPECT_EQUAL(static_cast<int64_t>(batch.ids.size()), wanted);
    policy.ran(guided, wanted, 1.0);
    EXPECT_EQUAL(static_cast<int64_t>(policy.select().ids.size()), most);
  }
}

TEST("a key that memory does not reach for has smaller batches from then on, others don't") {
  BatchPolicy policy(8);
  for (uint64_t id = 0; id < 20; ++id) policy.add(id, kSmall, 0);
  for (uint64_t id = 20; id < 40; ++id) policy.add(id, kLarge, 0);
  policy.allow_at_most(kSmall, 4);
  EXPECT_EQUAL(policy.limit(kSmall), int64_t{4});
  EXPECT_EQUAL(policy.limit(kLarge), int64_t{8});
  for (int turn = 0; turn < 200; ++turn) {  // larger sizes are tried now and then
    const auto batch = policy.select();
    EXPECT(batch.key == kLarge || batch.ids.size() <= 4);
    policy.ran(batch.key, static_cast<int64_t>(batch.ids.size()), 1.0);
  }
  policy.allow_at_most(kSmall, 6);
  EXPECT(policy.limit(kSmall) <= 4);
  // After some thousand steps larger ones are tried: the memory may be there again.
  for (int step = 0; step < 2000; ++step) policy.ran(kSmall, 4, 1.0);
  EXPECT_EQUAL(policy.limit(kSmall), int64_t{8});
}

TEST("a higher priority goes first and takes a running request's place") {
  BatchPolicy policy(2);
  for (const uint64_t id : {1, 2, 3}) policy.add(id, kSmall, 0);
  policy.add(8, kSmall, 5);
  policy.add(9, kSmall, -5);
  EXPECT(policy.select().ids == (Ids{8, 1}));
  policy.remove(8);
  for (const uint64_t id : {1, 2, 3}) policy.remove(id);
  EXPECT(policy.select().ids == (Ids{9}));
}

TEST("lower priorities of the same shape fill a batch up") {
  BatchPolicy policy(4);
  policy.add(1, kSmall, 0);
  policy.add(2, kSmall, 1);
  EXPECT(policy.select().ids == (Ids{2, 1}));
}

TEST("shapes take turns by the time they have had, however dear their steps") {
  BatchPolicy policy(1);
  policy.add(1, kSmall, 0);
  policy.add(2, kLarge, 0);
  std::map<BatchKey, double> had;
  std::map<BatchKey, int> turns;
  for (int i = 0; i < 550; ++i) {
    const auto batch = policy.select();
    const double seconds = batch.key == kSmall ? 1.0 : 10.0;
    policy.ran(batch.key, 1, seconds);
    had[batch.key] += seconds;
    ++turns[batch.key];
  }
  EXPECT_NEAR(had[kSmall], had[kLarge], 10.0);
  EXPECT(turns[kSmall] > 9 * turns[kLarge]);
}

TEST("a shape that was away does not claim the time that others had") {
  BatchPolicy policy(1);
  policy.add(1, kSmall, 0);
  for (int i = 0; i < 100; ++i) policy.ran(policy.select().key, 1, 1.0);
  policy.add(2, kLarge, 0);
  int large = 0;
  for (int i = 0; i < 20; ++i) {
    const auto batch = policy.select();
    policy.ran(batch.key, 1, 1.0);
    large += batch.key == kLarge;
  }
  EXPECT_EQUAL(large, 10);
}

TEST("nor does it pay for the time that it had before") {
  BatchPolicy policy(1);
  policy.add(1, kSmall, 0);
  for (int i = 0; i < 3600; ++i) policy.ran(policy.select().key, 1, 1.0);
  policy.remove(1);
  policy.add(2, kLarge, 0);
  policy.add(3, kSmall, 0);
  int large = 0;
  for (int i = 0; i < 20; ++i) {
    const auto batch = policy.select();
    policy.ran(batch.key, 1, 1.0);
    large += batch.key == kLarge;
  }
  EXPECT(large >= 10 && large <= 11);
}

TEST("a shape whose batches fail has had its time") {
  BatchPolicy policy(1);
  policy.add(1, kSmall, 0);
  policy.add(2, kLarge, 0);
  policy.lost(policy.select().key, 1.0);
  const auto second = policy.select().key;
  policy.lost(second, 1.0);
  EXPECT(policy.select().key != second);
}

TEST("a higher priority comes before any shape's turn") {
  for (const auto& [first, other] : {std::pair{kSmall, kLarge}, std::pair{kLarge, kSmall}}) {
    BatchPolicy policy(4);
    policy.add(1, other, 0);
    policy.add(2, first, 1);
    for (int i = 0; i < 10; ++i) {
      EXPECT(policy.select().key == first);
      policy.ran(first, 1, 5.0);
    }
  }
}

TEST("a batch is no larger than its shape's knee") {
  BatchPolicy policy(64);
  for (uint64_t id = 0; id < 100; ++id) policy.add(id, kSmall, 0);
  EXPECT_EQUAL(policy.select().ids.size(), size_t{64});
  policy.measured(kSmall, 1, 2.0);
  policy.measured(kSmall, 8, 8.0);
  policy.measured(kSmall, 64, 70.0);
  EXPECT_EQUAL(policy.select().ids.size(), size_t{8});
  EXPECT_EQUAL(policy.limit(kSmall), int64_t{8});
  EXPECT_EQUAL(policy.limit(kLarge), int64_t{64});
}

TEST("few requests: no larger a batch than pays well; more of them: half, up to the knee") {
  BatchPolicy policy(64);
  // c(b) = 1 + b: knees 28 (2 %) and 5 (20 %).
  for (const int64_t batch : {1, 2, 4, 8, 16, 32, 64}) policy.measured(kSmall, batch, 1.0 + static_cast<double>(batch));
  size_t n = 0;
  const auto batch_of = [&](size_t count) {
    for (; n < count; ++n) policy.add(n, kSmall, 0);
    return policy.select().ids.size();
  };
  EXPECT_EQUAL(batch_of(3), size_t{3});
  EXPECT_EQUAL(batch_of(8), size_t{5});
  EXPECT_EQUAL(batch_of(21), size_t{11});
  EXPECT_EQUAL(batch_of(200), size_t{28});
}

TEST("a larger size that is tried is twice what pays, and that seldom") {
  BatchPolicy policy(64);
  for (uint64_t id = 0; id < 100; ++id) policy.add(id, kSmall, 0);
  policy.measured(kSmall, 1, 2.0);
  policy.measured(kSmall, 8, 8.0);
  policy.measured(kSmall, 64, 70.0);
  std::map<size_t, int> sizes;
  for (int i = 0; i < 256; ++i) {
    const auto batch = policy.select().ids.size();
    ++sizes[batch];
    policy.ran(kSmall, static_cast<int64_t>(batch), batch == 8 ? 8.0 : 17.0);
  }
  EXPECT(sizes == (std::map<size_t, int>{{8, 252}, {16, 4}}));
}

TEST("a size that was slow once is tried again where enough wait") {
  BatchPolicy policy(32);
  for (uint64_t id = 0; id < 100; ++id) policy.add(id, kSmall, 0);
  policy.measured(kSmall, 1, 2.0);
  policy.measured(kSmall, 4, 5.0);
  for (const int64_t batch : {8, 16, 32}) policy.measured(kSmall, batch, 100.0);  // among other processes
  EXPECT_EQUAL(policy.limit(kSmall), int64_t{4});
  for (int i = 0; i < 64 * 12; ++i) {
    const auto batch = static_cast<int64_t>(policy.select().ids.size());
    policy.ran(kSmall, batch, 1.0 + static_cast<double>(batch));
  }
  EXPECT(policy.limit(kSmall) > 20);
}

TEST("what a shape's steps cost is forgotten where many others come") {
  BatchPolicy policy(64);
  policy.measured(kSmall, 1, 2.0);
  policy.measured(kSmall, 8, 8.0);
  policy.measured(kSmall, 64, 70.0);
  EXPECT_EQUAL(policy.limit(kSmall), int64_t{8});
  for (int64_t i = 0; i < 70; ++i) {
    policy.add(1, {3, 8, 8 + i}, 0);
    policy.remove(1);
  }
  EXPECT_EQUAL(policy.limit(kSmall), int64_t{64});
}

TEST("many shapes come and go: nobody starves, and old ones are forgotten") {
  BatchPolicy policy(2);
  std::mt19937 random(1);
  std::map<uint64_t, int> left;
  uint64_t next = 0;
  for (int i = 0; i < 3000; ++i) {
    if (i < 2000) {
      left[next] = 1 + static_cast<int>(random() % 3);
      policy.add(next++, {3, 8 + static_cast<int64_t>(random() % 300), 8}, 0);
    }
    const auto batch = policy.select();
    for (const auto id : batch.ids) {
      if (--left.at(id) == 0) {
        policy.remove(id);
        left.erase(id);
      }
    }
    if (!batch.ids.empty()) policy.ran(batch.key, static_cast<int64_t>(batch.ids.size()), 1e-3);
  }
  while (!policy.empty()) {
    const auto batch = policy.select();
    EXPECT(!batch.ids.empty() && batch.ids.size() <= 2);
    for (const auto id : batch.ids) policy.remove(id);
    policy.ran(batch.key, 1, 1e-3);
  }
}
