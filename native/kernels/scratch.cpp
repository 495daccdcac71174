#include "kernels/scratch.h"

namespace nd::kernels {

Scratch& Scratch::of_this_thread() {
  thread_local Scratch scratch;
  return scratch;
}

float* Scratch::at_least(size_t floats) {
  if (memory_.bytes() < floats * sizeof(float)) {
    memory_ = AlignedMemory();  // not both at once
    memory_ = AlignedMemory(floats * sizeof(float));
  }
  return static_cast<float*>(memory_.data());
}

}  // namespace nd::kernels
