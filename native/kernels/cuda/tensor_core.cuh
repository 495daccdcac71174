#pragma once

#include "kernels/cuda/elements.cuh"
#include "kernels/cuda/limits.h"

namespace nd::kernels::cuda {

/// 32 channels of a row, of which the four lanes that share it have eight each, in the order in which they lie in memory: two
/// matrix products of 16 that a lane's words 2j and 2j + 1 go into. Products may be summed in any order of their channels, as
/// long as both factors have the same.
constexpr int kRowChannels = 32, kLaneChannels = 8;

__device__ __forceinline__ int lane() { return static_cast<int>(threadIdx.x) % kWarp; }
__device__ __forceinline__ int lane_channel() { return lane() % 4 * kLaneChannels; }

/// sums += rows·outsᵀ over 16 channels, of a warp: rows are 16, of which a lane has lane / 4 and that + 8; outs are 8, of which
/// it has lane / 4; sums[0], sums[1] are those of its first row with the outs 2·(lane % 4) and the next, sums[2], sums[3] of its
/// second. PTX ISA, "Matrix fragments for mma.m16n8k16".
template <typename T>
__device__ __forceinline__ void multiply_add(float (&sums)[4], const uint32_t* first_row, const uint32_t* second_row,
                                             const uint32_t* out) {
#ifdef __CUDACC__
  if constexpr (sizeof(T) != 2) {
    static_assert(sizeof(T) == 2, "halves alone");
  } else if constexpr (std::is_same_v<T, __half>) {
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
                 : "+f"(sums[0]), "+f"(sums[1]), "+f"(sums[2]), "+f"(sums[3])
                 : "r"(first_row[0]), "r"(second_row[0]), "r"(first_row[1]), "r"(second_row[1]), "r"(out[0]), "r"(out[1]));
  } else {
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
                 : "+f"(sums[0]), "+f"(sums[1]), "+f"(sums[2]), "+f"(sums[3])
                 : "r"(first_row[0]), "r"(second_row[0]), "r"(first_row[1]), "r"(second_row[1]), "r"(out[0]), "r"(out[1]));
  }
#else
  const uint32_t mine[6] = {first_row[0], second_row[0], first_row[1], second_row[1], out[0], out[1]};
  emulation::multiply_add(sums, mine, [](uint32_t word, int half) {
    T lanes[2];
    memcpy(lanes, &word, sizeof lanes);
    return to_float(lanes[half]);
  });
#endif
}

/// Of a kernel that needs none: where kernels are emulated, a block's warps meet over its shared memory.
constexpr size_t kLittleShared = 16;

/// 16 bytes that no other warp of the block reads: they are not kept near it.
__device__ __forceinline__ uint4 load_once(const void* from) {
#ifdef __CUDACC__
  uint4 v;
  asm volatile("ld.global.nc.L1::no_allocate.L2::128B.v4.u32 {%0, %1, %2, %3}, [%4];"
               : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w) : "l"(from));
  return v;
#else
  return *static_cast<const uint4*>(from);
#endif
}

/// Into the cache that all blocks share.
__device__ __forceinline__ void bring_near(const void* p) {
#ifdef __CUDACC__
  asm volatile("prefetch.global.L2 [%0];" : : "l"(p));
#else
  (void)p;
#endif
}

}  // namespace nd::kernels::cuda
