#pragma once

#include <ATen/Parallel.h>

namespace nd {

/// While it lives, libtorch's operators and our kernels work on the calling thread alone.
class OneThread {
 public:
  OneThread() { at::set_num_threads(1); }
  ~OneThread() { at::set_num_threads(before_); }
  OneThread(const OneThread&) = delete;
  OneThread& operator=(const OneThread&) = delete;

 private:
  int before_ = at::get_num_threads();
};

}  // namespace nd
