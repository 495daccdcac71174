#pragma once

#include <algorithm>
#include <cstdint>
#include <map>
#include <utility>

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

// Blocks of a cluster run at once, on processors near each other, and read each other's shared memory (CUDA C++ Programming Guide,
// "Distributed Shared Memory"); from compute capability 9 on. Their barriers are for whole warps.

/// The cluster's threads meet, and see what each wrote to shared memory before.
__device__ __forceinline__ void cluster_meet() {
#ifndef __CUDACC__
  emulation::cluster_meet();
#elif defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
  asm volatile("barrier.cluster.arrive.release.aligned;\nbarrier.cluster.wait.acquire.aligned;" ::: "memory");
#endif
}
/// The same in two: a block arrives when it has used all that it read of others, and waits before it ends, for its shared memory ends
/// with it. Nothing is ordered otherwise: for what is written meanwhile nobody waits.
__device__ __forceinline__ void cluster_arrive() {
#ifndef __CUDACC__
  emulation::cluster_arrive();
#elif defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
  asm volatile("barrier.cluster.arrive.relaxed.aligned;" ::: "memory");
#endif
}
__device__ __forceinline__ void cluster_wait() {
#ifndef __CUDACC__
  emulation::cluster_wait();
#elif defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
  asm volatile("barrier.cluster.wait.acquire.aligned;" ::: "memory");
#endif
}
/// What the block of that rank has at the same place of its shared memory.
__device__ __forceinline__ float read_of_block(const float* mine, int rank) {
#ifndef __CUDACC__
  return *emulation::of_block(mine, rank);
#elif defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
  const auto at = static_cast<uint32_t>(__cvta_generic_to_shared(mine));
  uint32_t there;
  float v;
  asm("mapa.shared::cluster.u32 %0, %1, %2;" : "=r"(there) : "r"(at), "r"(rank));
  asm volatile("ld.shared::cluster.f32 %0, [%1];" : "=f"(v) : "r"(there) : "memory");
  return v;
#else
  return *mine;  // such a launch has clusters of one
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

inline void allow_shared(const void* kernel, size_t bytes) {
  if (bytes <= kPlainShared) return;
  check(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(bytes)), "shared memory");
}

inline int64_t processors() {
  int device = 0, count = 0;
  check(cudaGetDevice(&device), "device");
  check(cudaDeviceGetAttribute(&count, cudaDevAttrMultiProcessorCount, device), "processors");
  return count;
}

template <typename... Parameters, typename... Arguments>
void launch(void (*kernel)(Parameters...), dim3 grid, int threads, size_t shared, Stream stream,
            const Arguments&... arguments) {
  allow_shared(reinterpret_cast<const void*>(kernel), shared);
#ifdef __CUDACC__
  kernel<<<grid, threads, shared, stream>>>(arguments...);
#else
  emulation::run(grid, threads, shared, 1, [&] { kernel(arguments...); });
#endif
  check(cudaGetLastError(), "launch");
}

// Kernels that follow each other on a stream may overlap (CUDA C++ Programming Guide, "Programmatic Dependent Launch"): one
// that launch_overlapping or launch_clusters launches begins when all blocks of the one before have called let_next_begin, or are
// done. What it does until wait_for_previous must touch nothing that a kernel before it writes, and all its threads must call that. The next
// one's blocks take room from none of this one's: all of those run by then.

/// Lets the next kernel begin where there is room.
__device__ __forceinline__ void let_next_begin() {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.launch_dependents;");
#endif
}
/// Waits until the kernels before this one are done and their results are there.
__device__ __forceinline__ void wait_for_previous() {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.wait;" ::: "memory");
#endif
}

/// Whether the device overlaps kernels and has clusters, and the code that it runs of this one knows both. Not where captures of
/// such launches have been seen to fail (compute capability 12).
#ifndef __CUDACC__
inline bool has_hopper_code(const void*) { return true; }
#else
inline bool has_hopper_code(const void* kernel) {
  int device = 0, major = 0;
  check(cudaGetDevice(&device), "device");
  check(cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, device), "compute capability");
  if (major != 9 && major != 10) return false;
  thread_local std::map<std::pair<const void*, int>, bool> known;  // to ask costs as much as a launch
  const auto [found, is_new] = known.try_emplace({kernel, device}, false);
  if (is_new) {
    cudaFuncAttributes attributes{};
    check(cudaFuncGetAttributes(&attributes, kernel), "attributes");
    found->second = attributes.ptxVersion >= 90;
  }
  return found->second;
}
#endif

/// A kernel that calls wait_for_previous, in clusters of so many blocks along x.
template <typename... Parameters, typename... Arguments>
void launch_clusters(void (*kernel)(Parameters...), dim3 grid, int cluster, int threads, size_t shared, Stream stream,
                     const Arguments&... arguments) {
#ifdef __CUDACC__
  if (has_hopper_code(reinterpret_cast<const void*>(kernel))) {
    allow_shared(reinterpret_cast<const void*>(kernel), shared);
    cudaLaunchAttribute attributes[2]{};
    attributes[0].id = cudaLaunchAttributeProgrammaticStreamSerialization;
    attributes[0].val.programmaticStreamSerializationAllowed = 1;
    attributes[1].id = cudaLaunchAttributeClusterDimension;
    attributes[1].val.clusterDim.x = static_cast<unsigned>(cluster), attributes[1].val.clusterDim.y = attributes[1].val.clusterDim.z = 1;
    cudaLaunchConfig_t config{};
    config.gridDim = grid, config.blockDim = dim3(static_cast<unsigned>(threads)), config.dynamicSmemBytes = shared;
    config.stream = stream, config.attrs = attributes, config.numAttrs = cluster > 1 ? 2 : 1;
    cudaLaunchKernelEx(&config, kernel, Parameters(arguments)...);
    return check(cudaGetLastError(), "launch");
  }
  if (cluster > 1) fail(ErrorCode::op, "CUDA: this device, or its code, has no clusters of ", cluster, " blocks");
  launch(kernel, grid, threads, shared, stream, arguments...);
#else
  emulation::run(grid, threads, shared, cluster, [&] { kernel(arguments...); });
#endif
}

template <typename... Parameters, typename... Arguments>
void launch_overlapping(void (*kernel)(Parameters...), dim3 grid, int threads, size_t shared, Stream stream,
                        const Arguments&... arguments) {
  launch_clusters(kernel, grid, 1, threads, shared, stream, arguments...);
}

}  // namespace nd::kernels::cuda
