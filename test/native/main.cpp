#include <c10/core/InferenceMode.h>

#include "run_tests.h"

/// native_tests [FILE]
int main(int argc, char** argv) {
  c10::InferenceMode inference;
  return check::run_tests(argc, argv);
}
