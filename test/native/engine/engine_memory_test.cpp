#include <c10/util/Exception.h>

#include "check.h"
#include "engine/engine_helpers.h"

using namespace nd;
using namespace nd::test;

namespace {

/// Has no memory for more samples than some.
class Small final : public Formula {
 public:
  explicit Small(int64_t most) : most_(most) {}
  at::Tensor operator()(const at::Tensor& x, const at::Tensor& timesteps, const at::Tensor& labels,
                        const std::atomic<bool>& cancelled) const override {
    TORCH_CHECK_WITH(OutOfMemoryError, x.size(0) <= most_, "out of memory");
    return Formula::operator()(x, timesteps, labels, cancelled);
  }

 private:
  int64_t most_;
};

}  // namespace

TEST("where memory does not reach for a batch, its requests go on in smaller ones, with the same bits") {
  Listener listener;
  SamplerEngine engine(std::make_unique<Small>(3), {.max_batch = 16}, listener.function());
  std::vector<uint64_t> ids;
  const auto asked_for = [](uint64_t seed) {
    return Asked{.kind = SchedulerKind::ddpm, .steps = 4 + static_cast<int64_t>(seed % 3), .seed = seed};
  };
  for (uint64_t seed = 0; seed < 20; ++seed) ids.push_back(engine.submit(request_of(asked_for(seed))));
  for (uint64_t seed = 0; seed < 20; ++seed) {
    const auto event = listener.end_of(ids[seed]);
    EXPECT(event.kind == EngineEvent::Kind::done);
    EXPECT(at::equal(event.output, alone(asked_for(seed))));
  }
  const auto stats = engine.stats();
  EXPECT(stats.batch_limit <= 3);
  EXPECT_EQUAL(stats.sample_steps, int64_t{7 * 4 + 7 * 5 + 6 * 6});
}

TEST("where it does not reach for one, each fails, and the engine lives") {
  Listener listener;
  SamplerEngine engine(std::make_unique<Small>(0), {.max_batch = 8}, listener.function());
  for (int turn = 0; turn < 2; ++turn) {
    std::vector<uint64_t> ids;
    for (uint64_t seed = 0; seed < 5; ++seed) ids.push_back(engine.submit(request_of({.seed = seed})));
    for (const auto id : ids) {
      const auto event = listener.end_of(id);
      EXPECT(event.kind == EngineEvent::Kind::failed);
      bool is_of_memory = false;
      try {
        std::rethrow_exception(event.error);
      } catch (const c10::OutOfMemoryError&) {
        is_of_memory = true;
      }
      EXPECT(is_of_memory);
    }
  }
  EXPECT_EQUAL(engine.stats().sample_steps, int64_t{0});
}
