#include <cstdio>
#include <exception>
#include <string>

#include "check.h"

/// native_tests [FILE]: runs the tests of one file (its name without .cpp), or all; fails where there are none.
int main(int argc, char** argv) {
  const std::string only = argc > 1 ? argv[1] : "";
  int passed = 0, failed = 0;
  for (const auto& test : nd::test::tests()) {
    if (!only.empty() && test.file != only) continue;
    try {
      test.body();
      ++passed;
    } catch (const std::exception& e) {
      ++failed;
      std::printf("FAILED %s: %s\n  %s\n", test.file.c_str(), test.name.c_str(), e.what());
    }
  }
  std::printf("%d passed, %d failed\n", passed, failed);
  return failed == 0 && passed > 0 ? 0 : 1;
}
