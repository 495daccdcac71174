#include <c10/util/Exception.h>

#include <new>

#include "check.h"
#include "core/out_of_memory.h"
#include "engine/engine_helpers.h"

using namespace nd;
using namespace nd::test;

namespace {

/// As a device's allocator, the CPU's, an archive's forward and the standard library say it.
const std::vector<std::function<void()>> kLacks{
    [] { TORCH_CHECK_WITH(OutOfMemoryError, false, "CUDA out of memory. Tried to allocate 2.00 GiB."); },
    [] { TORCH_CHECK(false, "[enforce fail at alloc_cpu.cpp:121] err == 0. DefaultCPUAllocator: can't allocate memory: you tried to "
                            "allocate 1099511627776 bytes. Error code 12 (Cannot allocate memory)"); },
    [] { fail(ErrorCode::out_of_memory, "the archive's forward: CUDA out of memory."); },
    [] { throw std::bad_alloc(); },
};

/// Has no memory for more samples than some.
class Small final : public Formula {
 public:
  Small(int64_t most, std::function<void()> lack) : most_(most), lack_(std::move(lack)) {}
  at::Tensor operator()(const at::Tensor& x, const at::Tensor& timesteps, const at::Tensor& labels,
                        const std::atomic<bool>& cancelled) const override {
    if (x.size(0) > most_) lack_();
    return Formula::operator()(x, timesteps, labels, cancelled);
  }

 private:
  int64_t most_;
  std::function<void()> lack_;
};

Asked asked_for(uint64_t seed) {
  return {.kind = SchedulerKind::ddpm, .steps = 4 + static_cast<int64_t>(seed % 3), .seed = seed};
}

}  // namespace

TEST("what is a lack of memory, and what is none") {
  const auto thrown_by = [](const std::function<void()>& work) -> std::exception_ptr {
    try {
      work();
    } catch (...) {
      return std::current_exception();
    }
    return nullptr;
  };
  for (const auto& lack : kLacks) EXPECT(ran_out_of_memory(thrown_by(lack)));
  EXPECT(!ran_out_of_memory(thrown_by([] { TORCH_CHECK(false, "sizes do not match"); })));
  EXPECT(!ran_out_of_memory(thrown_by([] { fail(ErrorCode::op, "no"); })));
  EXPECT(!ran_out_of_memory(thrown_by([] { throw std::runtime_error("no"); })));
}

TEST("where memory does not reach for a batch, its requests go on in smaller ones, with the same bits") {
  for (const auto& lack : kLacks) {
    Listener listener;
    SamplerEngine engine(std::make_unique<Small>(3, lack), {.max_batch = 16}, listener.function());
    std::vector<uint64_t> ids;
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
}

TEST("where it does not reach for one, or for padded batches, each fails, and the engine lives") {
  for (const auto& [most, padded] : std::vector<std::pair<int64_t, bool>>{{0, false}, {7, true}}) {
    Listener listener;
    SamplerEngine engine(std::make_unique<Small>(most, kLacks[0]), {.max_batch = 8, .pad_batches = padded}, listener.function());
    for (int turn = 0; turn < 2; ++turn) {
      std::vector<uint64_t> ids;
      for (uint64_t seed = 0; seed < 5; ++seed) ids.push_back(engine.submit(request_of({.seed = seed})));
      for (const auto id : ids) {
        const auto event = listener.end_of(id);
        EXPECT(event.kind == EngineEvent::Kind::failed);
        EXPECT(ran_out_of_memory(event.error));
      }
    }
    EXPECT_EQUAL(engine.stats().sample_steps, int64_t{0});
    EXPECT_EQUAL(engine.stats().failed, int64_t{10});
    if (padded) EXPECT_EQUAL(engine.stats().batch_limit, int64_t{8});  // smaller ones would take as much
  }
}
