#include <ATen/Context.h>
#include <c10/core/InferenceMode.h>

#include <cstdio>
#include <exception>
#include <filesystem>
#include <string>

#include "check.h"

/// What ctest takes for a test that was skipped.
constexpr int kSkipped = 77;

/// gpu_tests [FILE]: runs the tests of FILE.cpp, or all. Says each test's name before it runs: one that hangs or takes the
/// device down is known by it. Exit status 1 if one failed or none was there to run.
int main(int argc, char** argv) {
  if (!at::hasCUDA()) {
    std::printf("no CUDA device\n");
    return kSkipped;
  }
  // The engines measure cuDNN's ways anew for each batch size, thread by thread: here the first of them will do.
  at::globalContext().setBenchmarkLimitCuDNN(1);
  c10::InferenceMode inference;
  const std::string wanted = argc > 1 ? argv[1] : "";
  int passed = 0, failed = 0;
  for (const auto& test : check::tests()) {
    if (!wanted.empty() && std::filesystem::path(test.file).stem() != wanted) continue;
    std::printf("%s\n", test.name.c_str());
    std::fflush(stdout);
    try {
      test.run();
      ++passed;
    } catch (const std::exception& e) {
      ++failed;
      std::printf("FAILED %s\n  %s\n", test.name.c_str(), e.what());
      std::fflush(stdout);
    }
  }
  std::printf("%d passed, %d failed\n", passed, failed);
  return failed > 0 || passed == 0 ? 1 : 0;
}
