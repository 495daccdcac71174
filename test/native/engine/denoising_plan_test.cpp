#include "core/engine/denoising_plan.h"

#include "check.h"
#include "engine/engine_helpers.h"

using namespace nd;
using namespace nd::test;

TEST("a plan begins at one of its steps") {
  EXPECT_EQUAL(make_plan(scheduler_of({.steps = 5}), {.first_step = 4})->steps.size(), size_t{1});
  EXPECT_ERROR(argument, "first_step must be below the number of timesteps 5, got 5", make_plan(scheduler_of({.steps = 5}), {.first_step = 5}));
}
