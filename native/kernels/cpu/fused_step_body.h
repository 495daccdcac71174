// Included once per instruction set, inside its namespace, after its simd_*.h. No include guard: that is the point.

#include "kernels/cpu/exp_body.h"
#include "kernels/philox_body.h"

static_assert(kPhiloxCounters % kWidth == 0, "16 neighbouring elements are one word of 16 neighbouring counters");

template <bool kWhole>
ND_SIMD Vec get(const float* p, int64_t n) {
  if constexpr (kWhole) return load(p);
  return load_first(p, n);
}
template <bool kWhole>
ND_SIMD void put(float* p, Vec v, int64_t n) {
  if constexpr (kWhole) {
    store(p, v);
  } else {
    store_first(p, v, n);
  }
}

/// A row, broadcast.
struct RowVectors {
  float bound;
  bool divided;
  Vec p, q, d, k, c_x0, c_xt, c_out, sigma, log_beta, log_posterior_variance;
};

ND_SIMD RowVectors broadcast(const StepRow& row, float k) {
  return {row.bound,          k != 1.0F,        set1(row.p),         set1(row.q),
          set1(row.d),        set1(k),          set1(row.c_x0),      set1(row.c_xt),
          set1(row.c_out),    set1(row.sigma),  set1(row.log_beta),  set1(row.log_posterior_variance)};
}

/// √ of the learned variance at element e on, or σ.
template <bool kWhole>
ND_SIMD Vec deviation(const SampleStep& s, const RowVectors& row, int64_t e, int64_t n) {
  if (s.learned == LearnedVariance::none) return row.sigma;
  const Vec v = get<kWhole>(s.variance + e, n);
  if (s.learned == LearnedVariance::direct) return square_root(v);
  const Vec fraction = mul(add(v, set1(1.0F)), set1(0.5F));
  const Vec log_variance =
      add(mul(fraction, row.log_beta), mul(sub(set1(1.0F), fraction), row.log_posterior_variance));
  return exp<false>(mul(set1(0.5F), log_variance));
}

/// The first n lanes at element e. The order of operations is step_reference.cpp's.
template <bool kWhole, bool kNoisy>
ND_SIMD void step_lanes(const SampleStep& s, const RowVectors& row, int64_t e, int64_t n, const float* z) {
  const Vec x = get<kWhole>(s.x + e, n), out = get<kWhole>(s.out + e, n);
  // 1. x0, from the model's prediction
  Vec x0 = div(add(mul(row.p, x), mul(row.q, out)), row.d);
  // 2. clip; NaN stays
  x0 = at_most(at_least(x0, -row.bound), row.bound);
  if (row.divided) x0 = div(x0, row.k);
  // 3. x_s without noise
  Vec prev = add(add(mul(row.c_x0, x0), mul(row.c_xt, x)), mul(row.c_out, out));
  // 4. noise
  if constexpr (kNoisy) prev = add(prev, mul(deviation<kWhole>(s, row, e, n), get<kWhole>(z, n)));
  if (s.x0 != nullptr) put<kWhole>(s.x0 + e, x0, n);
  put<kWhole>(s.prev + e, prev, n);
}

/// The elements begin … end − 1, whose normals are at z.
template <bool kNoisy>
ND_SIMD void step_range(const SampleStep& s, const RowVectors& row, int64_t begin, int64_t end, const float* z) {
  int64_t e = begin;
  for (; e + kWidth <= end; e += kWidth) step_lanes<true, kNoisy>(s, row, e, kWidth, kNoisy ? z + (e - begin) : z);
  if (e < end) step_lanes<false, kNoisy>(s, row, e, end - e, kNoisy ? z + (e - begin) : z);
}

/// Groups made at once, and their elements.
constexpr int kBlocks = 2;
constexpr int64_t kMade = kBlocks * kPhiloxGroup;

/// The kMade normals from element e on, a multiple of Philox's group.
ND_SIMD void make_normals(float* z, int64_t e, PhiloxKey key) {
  for (int64_t part = 0; part < kPhiloxCounters; part += kWidth) {
    Vec of_part[kBlocks][4];
    const int64_t counter = e / kPhiloxGroup * kPhiloxCounters + part;
    philox_normals<kBlocks>(static_cast<uint64_t>(counter), key.seed, key.draw, of_part);
#pragma GCC unroll 8
    for (int i = 0; i < 4 * kBlocks; ++i) store(z + i * kPhiloxCounters + part, of_part[i / 4][i % 4]);
  }
}

static void step(const SampleStep& sample, int64_t begin, int64_t end) {
  const SampleStep s = sample;  // a copy, which no store through a float pointer can change
  const RowVectors row = broadcast(s.row, s.k);
  if (s.row.sigma == 0.0F || (s.noise == nullptr && s.philox == nullptr)) {
    step_range<false>(s, row, begin, end, nullptr);
    return;
  }
  if (s.noise != nullptr) {
    step_range<true>(s, row, begin, end, s.noise + begin);
    return;
  }
  const PhiloxKey key = *s.philox;
  for (int64_t e = begin; e < end; e += kMade) {
    alignas(64) float z[kMade];
    make_normals(z, e, key);
    step_range<true>(s, row, e, end - e < kMade ? end : e + kMade, z);
  }
}

static void normal(float* to, int64_t begin, int64_t end, PhiloxKey key) {
  int64_t e = begin;
  for (; e + kMade <= end; e += kMade) make_normals(to + e, e, key);
  if (e == end) return;
  alignas(64) float z[kMade];
  make_normals(z, e, key);
  for (int64_t i = 0; i < end - e; ++i) to[e + i] = z[i];
}

extern const FusedStepKernels fused_step_f32;
const FusedStepKernels fused_step_f32{&step, &normal};
