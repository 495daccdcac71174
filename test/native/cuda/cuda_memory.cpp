#include <cuda_runtime_api.h>

#include "core/errors.h"
#include "cuda/device_memory.h"

namespace device_memory {

namespace {

void check(cudaError_t status) {
  if (status != cudaSuccess) nd::fail(nd::ErrorCode::op, "CUDA: ", cudaGetErrorString(status));
}

}  // namespace

void* allocate(size_t bytes) {
  void* memory = nullptr;
  check(cudaMalloc(&memory, bytes));
  return memory;
}
void release(void* memory) noexcept { cudaFree(memory); }
void copy_in(void* to, const void* from, size_t bytes) {
  check(cudaMemcpy(to, from, bytes, cudaMemcpyHostToDevice));
  check(cudaDeviceSynchronize());  // from pageable memory it may return before; streams that don't block would not wait for it
}
void copy_out(void* to, const void* from, size_t bytes) { check(cudaMemcpy(to, from, bytes, cudaMemcpyDeviceToHost)); }

}  // namespace device_memory
