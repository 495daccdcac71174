#pragma once

#include "kernels/cuda/divisor.h"
#include "kernels/cuda/launch.cuh"

namespace nd::kernels::cuda {

__device__ __forceinline__ float to_float(float v) { return v; }
__device__ __forceinline__ float to_float(__half v) { return __half2float(v); }
__device__ __forceinline__ float to_float(__nv_bfloat16 v) { return __bfloat162float(v); }

__device__ __forceinline__ int quotient(int n, Divisor d) {
  return static_cast<int>(uint64_t{static_cast<uint32_t>(n)} * d.factor >> d.shift);
}

/// kCount neighbours, read and written in one access.
template <typename T, int kCount>
struct alignas(kCount * sizeof(T)) Lanes {
  T lane[kCount];
};

__device__ __forceinline__ void round_to(float& to, float v) { to = v; }
__device__ __forceinline__ void round_to(__half& to, float v) { to = __float2half_rn(v); }
__device__ __forceinline__ void round_to(__nv_bfloat16& to, float v) { to = __float2bfloat16_rn(v); }

// Two at a time: one instruction.
__device__ __forceinline__ __half2 rounded_pair(__half, float a, float b) { return __floats2half2_rn(a, b); }
__device__ __forceinline__ __nv_bfloat162 rounded_pair(__nv_bfloat16, float a, float b) {
  return __floats2bfloat162_rn(a, b);
}

__device__ __forceinline__ void load_four(const float* from, float* v) {
  const float4 all = *reinterpret_cast<const float4*>(from);
  v[0] = all.x, v[1] = all.y, v[2] = all.z, v[3] = all.w;
}

/// kCount neighbours of a row of floats, in as few accesses as its place allows.
template <int kCount>
__device__ __forceinline__ void load_row(const float* from, float (&v)[kCount]) {
  if (kCount % 4 == 0 && reinterpret_cast<uintptr_t>(from) % 16 == 0) {
#pragma unroll
    for (int i = 0; i < kCount; i += 4) load_four(from + i, v + i);
    return;
  }
#pragma unroll
  for (int i = 0; i < kCount; ++i) v[i] = from[i];
}

/// 2ᵛ and 1/v in one instruction, good to some 2 units in the last place.
__device__ __forceinline__ float fast_exp2(float v) {
#ifdef __CUDACC__
  float y;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(v));
  return y;
#else
  return std::exp2(v);
#endif
}
__device__ __forceinline__ float fast_reciprocal(float v) {
#ifdef __CUDACC__
  float y;
  asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(v));
  return y;
#else
  return 1.0F / v;
#endif
}

/// The 32-bit word `index` of the elements.
template <typename T, int kCount>
__device__ __forceinline__ uint32_t word_of(const float (&v)[kCount], int index) {
  if constexpr (sizeof(T) == 4) {
    return __float_as_uint(v[index]);
  } else {
    const auto pair = rounded_pair(T(), v[2 * index], v[2 * index + 1]);
    uint32_t word;
    memcpy(&word, &pair, sizeof word);
    return word;
  }
}

template <int kCount, typename T>
__device__ __forceinline__ void load(const T* from, float (&v)[kCount]) {
  const auto lanes = *reinterpret_cast<const Lanes<T, kCount>*>(from);
#pragma unroll
  for (int i = 0; i < kCount; ++i) v[i] = to_float(lanes.lane[i]);
}

template <int kCount, typename T>
__device__ __forceinline__ void store(T* to, const float (&v)[kCount]) {
  if constexpr (kCount * sizeof(T) == 16) {
    // Whole words: the compiler would split a struct of lanes.
    *reinterpret_cast<uint4*>(to) = make_uint4(word_of<T>(v, 0), word_of<T>(v, 1), word_of<T>(v, 2), word_of<T>(v, 3));
  } else {
#pragma unroll
    for (int i = 0; i < kCount; ++i) round_to(to[i], v[i]);
  }
}

/// Elements of one 16-byte access.
template <typename T>
constexpr int kVectorOf = 16 / sizeof(T);

/// The compiler forgets what it knows of the word: it makes anew what it had made of it, and holds no registers for that.
__device__ __forceinline__ void forget(uint32_t& word) {
#ifdef __CUDACC__
  asm volatile("" : "+r"(word));
#else
  (void)word;
#endif
}

/// Neighbours as they lie in memory, in a thread's registers: halves by two in each. Of one 16-byte access, or a single one.
template <typename T, int kCount>
struct Held {
  uint32_t words[4];

  __device__ __forceinline__ void load(const T* from) {
    const uint4 all = *reinterpret_cast<const uint4*>(from);
    words[0] = all.x, words[1] = all.y, words[2] = all.z, words[3] = all.w;
  }
  __device__ __forceinline__ float operator[](int i) const {
    if constexpr (sizeof(T) == 4) {
      return __uint_as_float(words[i]);
    } else {
      T lanes[2];
      memcpy(lanes, &words[i / 2], sizeof lanes);
      return to_float(lanes[i % 2]);
    }
  }
  /// Of kSome elements from `first` on, an even number.
  template <int kSome>
  __device__ __forceinline__ void replace(int first, const float (&v)[kSome]) {
    constexpr int kWords = kSome * static_cast<int>(sizeof(T)) / 4;
#pragma unroll
    for (int i = 0; i < kWords; ++i) words[first * kWords / kSome + i] = word_of<T>(v, i);
  }
  __device__ __forceinline__ void store(T* to) const {
    *reinterpret_cast<uint4*>(to) = make_uint4(words[0], words[1], words[2], words[3]);
  }
  __device__ __forceinline__ void keep_packed() {
    for (uint32_t& word : words) forget(word);
  }
};
template <typename T>
struct Held<T, 1> {
  float value;

  __device__ __forceinline__ void load(const T* from) { value = to_float(*from); }
  __device__ __forceinline__ float operator[](int) const { return value; }
  template <int kSome>
  __device__ __forceinline__ void replace(int, const float (&v)[kSome]) { value = v[0]; }
  __device__ __forceinline__ void store(T* to) const { round_to(*to, value); }
  __device__ __forceinline__ void keep_packed() {}
};

__host__ __device__ inline bool is_aligned(const void* p, uintptr_t bytes) { return reinterpret_cast<uintptr_t>(p) % bytes == 0; }
__host__ __device__ inline bool aligned_16(const void* p) { return is_aligned(p, 16); }

template <typename T>
struct Type {
  using type = T;
};

/// visit(Type<T>) with the element's T.
template <typename Visit>
void dispatch(Element element, const Visit& visit) {
  switch (element) {
    case Element::f32: return visit(Type<float>{});
    case Element::f16: return visit(Type<__half>{});
    case Element::bf16: return visit(Type<__nv_bfloat16>{});
  }
  fail(ErrorCode::dtype, "no such element type: ", static_cast<int>(element));
}

}  // namespace nd::kernels::cuda
