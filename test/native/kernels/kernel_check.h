#pragma once

#include <ATen/core/Tensor.h>

#include <cstring>
#include <vector>

#include "kernels/cpu/isa.h"

/// The instruction sets that this processor runs, each of which the kernels are tested on.
inline std::vector<nd::kernels::Isa> isas() {
  using nd::kernels::Isa;
  std::vector<Isa> all;
  for (const Isa isa : {Isa::portable, Isa::avx2, Isa::avx512}) {
    if (isa <= nd::kernels::best_isa()) all.push_back(isa);
  }
  return all;
}

inline bool same_bits(const at::Tensor& a, const at::Tensor& b) {
  return a.nbytes() == b.nbytes() && std::memcmp(a.const_data_ptr(), b.const_data_ptr(), a.nbytes()) == 0;
}
