#include "run_tests.h"

/// cuda_kernel_tests [FILE], cuda_emulated_tests [FILE]
int main(int argc, char** argv) { return check::run_tests(argc, argv); }
