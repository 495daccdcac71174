#include <ATen/Context.h>
#include <c10/core/InferenceMode.h>

#include <cstdio>

#include "run_tests.h"

/// What ctest takes for a test that was skipped.
constexpr int kSkipped = 77;

/// gpu_tests [FILE]
int main(int argc, char** argv) {
  if (!at::hasCUDA()) {
    std::printf("no CUDA device\n");
    return kSkipped;
  }
  // The engines measure cuDNN's ways anew for each batch size, thread by thread: here the first of them will do.
  at::globalContext().setBenchmarkLimitCuDNN(1);
  c10::InferenceMode inference;
  return check::run_tests(argc, argv, /*announced=*/true);
}
