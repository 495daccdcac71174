#pragma once

#include "kernels/aligned_memory.h"

namespace nd::kernels {

/// Memory that a kernel uses while it runs and that the next one, of any kind, may use again; one call at a time.
class Scratch {
 public:
  /// The calling thread's, as long as it lives.
  static Scratch& of_this_thread();

  /// On a cache line boundary; what it held is gone.
  float* at_least(size_t floats);

 private:
  AlignedMemory memory_;
};

}  // namespace nd::kernels
