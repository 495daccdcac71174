#pragma once

#include <algorithm>
#include <cstdint>

#include "core/errors.h"
#include "kernels/cuda/kernels.h"

// The kernels are also plain C++, which the tests run on the CPU (test/native/cuda/emulation.h).
#ifdef __CUDACC__
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime.h>
#else
#include "cuda/emulation.h"
#endif

namespace nd::kernels::cuda {

inline void check(cudaError_t status, const char* what) {
  if (status != cudaSuccess) fail(ErrorCode::op, "CUDA: ", what, ": ", cudaGetErrorString(status));
}

/// A block's dynamic shared memory, aligned to 16 bytes.
__device__ __forceinline__ unsigned char* shared_memory() {
#ifdef __CUDACC__
  extern __shared__ __align__(16) unsigned char bytes[];
  return bytes;
#else
  return emulation::shared_memory();
#endif
}

/// p, which lies in global memory or is null: of a pointer read from memory the compiler does not know.
template <typename T>
__device__ __forceinline__ T* in_global(T* p) {
#ifdef __CUDACC__
  __builtin_assume(__isGlobal(p));
#endif
  return p;
}

constexpr int64_t kMostBlocks = 0x7FFFFFFF, kMostRows = 0xFFFF;  // of a grid's x and y

/// A thread's items along the grid's x: first_item(), and every all_threads()-th after it.
__device__ __forceinline__ int64_t first_item() { return int64_t{blockIdx.x} * blockDim.x + threadIdx.x; }
__device__ __forceinline__ int64_t all_threads() { return int64_t{gridDim.x} * blockDim.x; }

/// Blocks for so many items, `threads` a block; the kernels loop where a grid can't hold them all.
inline unsigned blocks_for(int64_t items, int threads) {
  return static_cast<unsigned>(std::min((items + threads - 1) / threads, kMostBlocks));
}

/// The same along x for each of `count` rows along y.
inline dim3 grid_for(int64_t items, int64_t count, int threads) {
  return dim3(blocks_for(items, threads), static_cast<unsigned>(std::min(count, kMostRows)));
}

/// Shared memory that a block gets without asking.
constexpr size_t kPlainShared = 48 << 10;

template <typename... Parameters, typename... Arguments>
void launch(void (*kernel)(Parameters...), dim3 grid, int threads, size_t shared, Stream stream,
            const Arguments&... arguments) {
  if (shared > kPlainShared) {
    check(cudaFuncSetAttribute(reinterpret_cast<const void*>(kernel), cudaFuncAttributeMaxDynamicSharedMemorySize,
                               static_cast<int>(shared)), "shared memory");
  }
#ifdef __CUDACC__
  kernel<<<grid, threads, shared, stream>>>(arguments...);
#else
  emulation::run(grid, threads, shared, [&] { kernel(arguments...); });
#endif
  check(cudaGetLastError(), "launch");
}

}  // namespace nd::kernels::cuda
