#include "kernels/aligned_memory.h"

#include <new>

namespace nd::kernels {

constexpr std::align_val_t kLine{64};

AlignedMemory::AlignedMemory(size_t bytes) : data_(::operator new(bytes, kLine)), bytes_(bytes) {}

void AlignedMemory::Free::operator()(void* data) const { ::operator delete(data, kLine); }

}  // namespace nd::kernels
