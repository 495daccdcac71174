#pragma once

#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>

#include "cuda/emulated_block.h"

// As much of CUDA as native/kernels/cuda uses, on the CPU.

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline
#define __launch_bounds__(...)
#define __grid_constant__

using cudaError_t = int;
constexpr cudaError_t cudaSuccess = 0;
enum cudaFuncAttribute { cudaFuncAttributeMaxDynamicSharedMemorySize };
enum cudaDeviceAttr { cudaDevAttrMultiProcessorCount };
inline const char* cudaGetErrorString(cudaError_t) { return "none"; }
inline cudaError_t cudaGetLastError() { return cudaSuccess; }
inline cudaError_t cudaFuncSetAttribute(const void*, cudaFuncAttribute, int) { return cudaSuccess; }
inline cudaError_t cudaGetDevice(int* device) { return *device = 0, cudaSuccess; }
constexpr int kProcessors = 16;  // some samples are few for them, and some many
inline cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr, int) { return *value = kProcessors, cudaSuccess; }

namespace emulation {
inline unsigned char* shared_memory() { return cluster->block().shared.get(); }

inline void cluster_meet() { cluster->barrier.arrive_and_wait(); }
inline void cluster_arrive() { cluster->arrive(); }
inline void cluster_wait() { cluster->wait_for_arrived(); }
/// The same place of the shared memory that the block of that rank has.
template <typename T>
const T* of_block(const T* mine, int rank) {
  const auto at = reinterpret_cast<const unsigned char*>(mine) - shared_memory();
  return reinterpret_cast<const T*>(cluster->block(static_cast<size_t>(rank)).shared.get() + at);
}
}  // namespace emulation

inline void __syncthreads() {
  if (emulation::cluster == nullptr) emulation::stop("__syncthreads in a kernel launched without shared memory");
  emulation::cluster->block().barrier.arrive_and_wait();
}

/// Of all threads of a warp: the value that lane `from` has.
inline float __shfl_sync(unsigned, float v, int from) {
  emulation::Warp& warp = emulation::cluster->warp();
  warp.lanes[threadIdx.x % 32] = v;
  warp.barrier.arrive_and_wait();
  const float theirs = warp.lanes[static_cast<unsigned>(from) % 32];
  warp.barrier.arrive_and_wait();
  return theirs;
}
inline float __shfl_xor_sync(unsigned all, float v, int other) {
  return __shfl_sync(all, v, static_cast<int>(threadIdx.x % 32) ^ other);
}

namespace emulation {

/// mma.m16n8k16 of a whole warp. A lane's words: the rows lane / 4 and that + 8 with the first eight of 16 channels, both with
/// the last eight, and the out lane / 4 with either; of each eight it has two, from 2·(lane % 4) on. to_float(word, i): its
/// element i.
template <typename ToFloat>
void multiply_add(float (&sums)[4], const uint32_t (&mine)[6], const ToFloat& to_float) {
  Warp& warp = cluster->warp();
  const unsigned lane = threadIdx.x % 32;
  std::memcpy(warp.fragments[lane], mine, sizeof mine);
  warp.barrier.arrive_and_wait();
  for (unsigned i = 0; i < 4; ++i) {
    const unsigned second_row = i / 2, out = lane % 4 * 2 + i % 2;
    for (unsigned k = 0; k < 16; ++k) {
      const unsigned last_eight = k / 8, holder = k % 8 / 2;
      const uint32_t of_row = warp.fragments[lane / 4 * 4 + holder][2 * last_eight + second_row];
      const uint32_t of_out = warp.fragments[out * 4 + holder][4 + last_eight];
      sums[i] += to_float(of_row, k % 2) * to_float(of_out, k % 2);
    }
  }
  warp.barrier.arrive_and_wait();
}

}  // namespace emulation

template <typename T>
T min(T a, T b) { return b < a ? b : a; }
template <typename T>
T max(T a, T b) { return a < b ? b : a; }

struct alignas(8) uint2 {
  uint32_t x, y;
};
struct alignas(16) uint4 {
  uint32_t x, y, z, w;
};
struct alignas(8) float2 {
  float x, y;
};
struct alignas(16) float4 {
  float x, y, z, w;
};
inline uint2 make_uint2(uint32_t x, uint32_t y) { return {x, y}; }
inline uint4 make_uint4(uint32_t x, uint32_t y, uint32_t z, uint32_t w) { return {x, y, z, w}; }

inline uint32_t __float_as_uint(float v) { return std::bit_cast<uint32_t>(v); }
inline float __uint_as_float(uint32_t v) { return std::bit_cast<float>(v); }

struct __nv_bfloat16 {
  uint16_t bits;
};
struct __nv_bfloat162 {
  __nv_bfloat16 x, y;
};
inline float __bfloat162float(__nv_bfloat16 v) { return __uint_as_float(static_cast<uint32_t>(v.bits) << 16); }
inline __nv_bfloat16 __float2bfloat16_rn(float v) {
  const uint32_t bits = __float_as_uint(v);
  if (v != v) return {0x7FFF};
  return {static_cast<uint16_t>((bits + 0x7FFFU + ((bits >> 16) & 1U)) >> 16)};
}
inline __nv_bfloat162 __floats2bfloat162_rn(float a, float b) {
  return {__float2bfloat16_rn(a), __float2bfloat16_rn(b)};
}

struct __half {
  uint16_t bits;
};
struct __half2 {
  __half x, y;
};
inline float __half2float(__half v) {
  const int exponent = v.bits >> 10 & 31, mantissa = v.bits & 1023;
  const float sign = (v.bits & 0x8000) != 0 ? -1.0F : 1.0F;
  if (exponent == 31) return mantissa != 0 ? __uint_as_float(0x7FC00000) : sign * __uint_as_float(0x7F800000);
  if (exponent == 0) return sign * std::ldexp(static_cast<float>(mantissa), -24);
  return sign * std::ldexp(static_cast<float>(mantissa + 1024), exponent - 25);
}
/// To the nearest, ties to even: nearbyint of the value in units of its last place.
inline __half __float2half_rn(float v) {
  const auto sign = static_cast<uint16_t>(__float_as_uint(v) >> 16 & 0x8000U);
  if (v != v) return {0x7FFF};
  const float magnitude = std::fabs(v);
  if (magnitude >= 65520.0F) return {static_cast<uint16_t>(sign | 0x7C00)};
  const int exponent = magnitude < 0x1p-14F ? -14 : std::ilogb(magnitude);
  const int units = static_cast<int>(std::nearbyint(std::ldexp(magnitude, 10 - exponent)));  // 2048: the next exponent
  return {static_cast<uint16_t>(sign + ((exponent + 14) << 10) + units)};
}
inline __half2 __floats2half2_rn(float a, float b) { return {__float2half_rn(a), __float2half_rn(b)}; }
