#pragma once

#include <cstdio>
#include <exception>
#include <filesystem>
#include <string>

#include "check.h"

namespace check {

/// Runs the tests of the file that the first argument names (FILE of FILE.cpp), or all, and gives the exit status: 1 if one
/// failed or none was there to run. `announced`: each test's name is said before it runs, so that one that hangs or takes the
/// process down is known by it.
inline int run_tests(int argc, char** argv, bool announced = false) {
  const std::string wanted = argc > 1 ? argv[1] : "";
  int passed = 0, failed = 0;
  for (const auto& test : tests()) {
    if (!wanted.empty() && std::filesystem::path(test.file).stem() != wanted) continue;
    if (announced) std::printf("%s\n", test.name.c_str());
    std::fflush(stdout);
    try {
      test.run();
      ++passed;
    } catch (const std::exception& e) {
      ++failed;
      std::printf("FAILED %s\n  %s\n", test.name.c_str(), e.what());
    }
  }
  std::printf("%d passed, %d failed\n", passed, failed);
  return failed > 0 || passed == 0 ? 1 : 0;
}

}  // namespace check
