// Included once per instruction set, inside its namespace, after its simd_*.h. No include guard: that is the point.

/// a·b + c, in one rounding where fused.
template <bool kFused>
ND_SIMD Vec multiply_add(Vec a, Vec b, Vec c) {
  if constexpr (kFused) return fma(a, b, c);
  return add(mul(a, b), c);
}

/// exp(v) within 1 ulp or two: 2ⁿ·e^r, n = round(v·log₂e), |r| ≤ ln 2 / 2, e^r by its Taylor series to r⁷ / 7! (2⁻²⁷).
/// Unfused it gives the same bits on every instruction set.
template <bool kFused = true>
ND_SIMD Vec exp(Vec v) {
  // Beyond these exp is ∞ and 0 in float; NaN passes.
  v = at_least(at_most(v, 89.0F), -104.0F);
  const Vec n = round_to_integer(mul(v, set1(1.44269504088896341F)));
  // ln 2 in two parts, the first short enough for n·part to be exact (Cody & Waite).
  Vec r = multiply_add<kFused>(n, set1(-0.693359375F), v);
  r = multiply_add<kFused>(n, set1(2.12194440e-4F), r);
  Vec p = set1(1.0F / 5040.0F);
  p = multiply_add<kFused>(p, r, set1(1.0F / 720.0F));
  p = multiply_add<kFused>(p, r, set1(1.0F / 120.0F));
  p = multiply_add<kFused>(p, r, set1(1.0F / 24.0F));
  p = multiply_add<kFused>(p, r, set1(1.0F / 6.0F));
  p = multiply_add<kFused>(p, r, set1(0.5F));
  p = multiply_add<kFused>(p, r, set1(1.0F));
  p = multiply_add<kFused>(p, r, set1(1.0F));
  return scale_by_power_of_two(p, n);
}
