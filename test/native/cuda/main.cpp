#include <cstdio>
#include <exception>
#include <filesystem>
#include <string>

#include "check.h"

/// cuda_tests [FILE]: runs the tests of FILE.cpp, or all. Exit status 1 if one failed or none was there to run.
int main(int argc, char** argv) {
  const std::string wanted = argc > 1 ? argv[1] : "";
  int passed = 0, failed = 0;
  for (const auto& test : check::tests()) {
    if (!wanted.empty() && std::filesystem::path(test.file).stem() != wanted) continue;
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
