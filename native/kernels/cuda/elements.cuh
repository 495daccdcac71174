#pragma once

#include "kernels/cuda/launch.cuh"

namespace nd::kernels::cuda {

__device__ __forceinline__ float to_float(float v) { return v; }
__device__ __forceinline__ float to_float(__half v) { return __half2float(v); }
__device__ __forceinline__ float to_float(__nv_bfloat16 v) { return __bfloat162float(v); }

/// kCount neighbours, read and written in one access.
template <typename T, int kCount>
struct alignas(kCount * sizeof(T)) Lanes {
  T lane[kCount];
};

__device__ __forceinline__ void round_to(float& to, float v) { to = v; }
__device__ __forceinline__ void round_to(__half& to, float v) { to = __float2half_rn(v); }
__device__ __forceinline__ void round_to(__nv_bfloat16& to, float v) { to = __float2bfloat16_rn(v); }
// Two at a time: one instruction.
__device__ __forceinline__ void round_to(Lanes<__half, 2>& to, float a, float b) {
  const __half2 v = __floats2half2_rn(a, b);
  to.lane[0] = v.x, to.lane[1] = v.y;
}
__device__ __forceinline__ void round_to(Lanes<__nv_bfloat16, 2>& to, float a, float b) {
  const __nv_bfloat162 v = __floats2bfloat162_rn(a, b);
  to.lane[0] = v.x, to.lane[1] = v.y;
}

template <int kCount, typename T>
__device__ __forceinline__ void load(const T* from, float (&v)[kCount]) {
  const auto lanes = *reinterpret_cast<const Lanes<T, kCount>*>(from);
#pragma unroll
  for (int i = 0; i < kCount; ++i) v[i] = to_float(lanes.lane[i]);
}

template <int kCount, typename T>
__device__ __forceinline__ void store(T* to, const float (&v)[kCount]) {
  if constexpr (sizeof(T) == 2 && kCount % 2 == 0) {
    struct alignas(kCount * sizeof(T)) {
      Lanes<T, 2> pair[kCount / 2];
    } pairs;
#pragma unroll
    for (int i = 0; i < kCount / 2; ++i) round_to(pairs.pair[i], v[2 * i], v[2 * i + 1]);
    *reinterpret_cast<decltype(pairs)*>(to) = pairs;
  } else {
    Lanes<T, kCount> lanes;
#pragma unroll
    for (int i = 0; i < kCount; ++i) round_to(lanes.lane[i], v[i]);
    *reinterpret_cast<Lanes<T, kCount>*>(to) = lanes;
  }
}

/// Elements of one 16-byte access.
template <typename T>
constexpr int kVectorOf = 16 / sizeof(T);

inline bool aligned_16(const void* p) { return reinterpret_cast<uintptr_t>(p) % 16 == 0; }

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
