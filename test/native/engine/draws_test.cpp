#include "core/engine/draws.h"

#include "check.h"
#include "engine/engine_helpers.h"
#include "kernels/fused_step.h"

using namespace nd;
using namespace nd::test;

TEST("Philox's draws are numbered: x_T's is the first, and each step has its own, fused with the step or not") {
  for (const bool thresholding : {false, true}) {
    const Asked asked{.kind = SchedulerKind::ddpm, .steps = 4, .seed = 5, .philox = true, .thresholding = thresholding};
    uint32_t number = 0;
    const auto draw = [&] {
      auto z = at::empty({1, 2, 8, 8});
      kernels::philox_normal(z.mutable_data_ptr<float>(), z.numel(), {asked.seed, number++});
      return z;
    };
    const auto scheduler = scheduler_of(asked);
    auto x = draw();
    for (const auto t : scheduler->timesteps()) {
      x = scheduler_step(*scheduler, at::sin(3 * x + t), x, {.timesteps = {t}}, {.given = draw()}).prev_sample;
    }
    Listener listener;
    SamplerEngine engine(std::make_unique<Formula>(), {}, listener.function());
    EXPECT(at::equal(listener.end_of(engine.submit(request_of(asked))).output, x.squeeze(0)));
  }
}

TEST("a request's generator goes no further than its draws") {
  Listener listener;
  SamplerEngine engine(std::make_unique<Formula>(), {}, listener.function());
  const auto request = request_of({.steps = 3, .seed = 4});  // η = 0: x_T is all that is drawn
  auto generator = request.generator, expected = at::detail::createCPUGenerator(4);
  listener.end_of(engine.submit(request));
  at::randn({1, 2, 8, 8}, expected);
  EXPECT(at::equal(at::randn({4}, generator), at::randn({4}, expected)));
}
