// Included once per instruction set, inside its namespace, after its simd_*.h. No include guard: that is the point. It
// serves with one lane of plain scalars too, as a GPU's thread has it.
//
// Normal numbers by counter: Philox4x32-10 (Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3"), then Box
// and Muller. Of one draw, element e is in group e / 64, its counter is group·16 + e mod 16 and its output word
// (e mod 64) / 16: 16 neighbours are one word of 16 neighbouring counters.
//
// Only additions, multiplications, roots and, where it says `fused`, multiply-adds that round once each (IEEE 754): every
// instruction set gives the same bits.

constexpr int64_t kPhiloxGroup = 64, kPhiloxCounters = 16;

/// Ten rounds over kBlocks times kWidth counters, which become the output words. The key is bumped by the golden ratio and
/// √3 − 1. Blocks hide each other's latency.
template <int kBlocks>
ND_SIMD void philox(Bits word[kBlocks][4], uint32_t key0, uint32_t key1) {
  Wide w[kBlocks][4];
#pragma GCC unroll 8
  for (int i = 0; i < 4 * kBlocks; ++i) w[i / 4][i % 4] = widen(word[i / 4][i % 4]);
#pragma GCC unroll 10
  for (int round = 0; round < 10; ++round) {
#pragma GCC unroll 2
    for (int b = 0; b < kBlocks; ++b) {
      const Wide product0 = multiply_words(w[b][0], 0xD2511F53U), product1 = multiply_words(w[b][2], 0xCD9E8D57U);
      w[b][0] = bit_xor(bit_xor(upper_words(product1), w[b][1]), set1_wide(key0));
      w[b][1] = product1;
      w[b][2] = bit_xor(bit_xor(upper_words(product0), w[b][3]), set1_wide(key1));
      w[b][3] = product0;
    }
    key0 += 0x9E3779B9U;
    key1 += 0xBB67AE85U;
  }
#pragma GCC unroll 8
  for (int i = 0; i < 4 * kBlocks; ++i) word[i / 4][i % 4] = narrow(w[i / 4][i % 4]);
}

ND_SIMD Vec times_plus(Vec a, Vec b, float c) { return fused(a, b, set1(c)); }

/// −2·ln u, u = w·2⁻³² + 2⁻³³. u = 2ᵉ·m with ½ ≤ m < 1, and −2·ln m = −2f + f²·P(f), f = m − 1, P a minimax polynomial
/// for the relative error (2.4e-8, 1.1e-7 with rounding). Above ½, f = u − 1 is made of w − 2³²: a float next to 1 has few of
/// w's bits left.
ND_SIMD Vec minus_two_log(Bits w) {
  const Bits above = shift_right_signed<31>(w);
  const Vec u = times_plus(signed_to_float(w), set1(0x1p-32F), 0x1p-33F);  // above: u − 1
  const Vec m = as_floats(bit_xor(bit_and(as_bits(u), set1_bits(0x007FFFFF)), set1_bits(0x3F000000)));
  const Vec e = signed_to_float(sub(shift_right<23>(as_bits(u)), set1_bits(126)));
  const Vec f = as_floats(select(above, as_bits(u), as_bits(sub(m, set1(1.0F)))));
  Vec p = set1(-2.8291008472442627F);
  p = times_plus(p, f, -3.2791903018951416F);
  p = times_plus(p, f, -2.4174370765686035F);
  p = times_plus(p, f, -0.36190855503082275F);
  p = times_plus(p, f, -0.5273827910423279F);
  p = times_plus(p, f, 0.48736509680747986F);
  p = times_plus(p, f, -0.6672642230987549F);
  p = times_plus(p, f, 0.9999904632568359F);
  const Vec of_m = fused(mul(f, f), p, mul(f, set1(-2.0F)));
  return fused(as_floats(select(above, set1_bits(0), as_bits(e))), set1(-1.3862943611198906F), of_m);
}

/// cos and sin of 2π·w / 2³². The nearest quarter turn is taken off in integers, exactly; sinf and cosf of Moshier's Cephes
/// do the rest, |θ| ≤ π/4.
ND_SIMD void cos_sin(Bits w, Vec& cosine, Vec& sine) {
  const Bits quarter = add(w, set1_bits(1U << 29));  // in its upper two bits
  const Vec angle = mul(signed_to_float(shift_left<2>(w)), set1(0x1.921fb6p-32F));  // π/2 · 2⁻³²
  const Vec square = mul(angle, angle);
  Vec s = times_plus(set1(-1.9515295891e-4F), square, 8.3321608736e-3F);
  s = times_plus(s, square, -1.6666654611e-1F);
  s = fused(mul(s, square), angle, angle);
  Vec c = times_plus(set1(2.443315711809948e-5F), square, -1.388731625493765e-3F);
  c = times_plus(c, square, 4.166664568298827e-2F);
  c = fused(fused(c, square, set1(-0.5F)), square, set1(1.0F));
  // Odd quarters swap the two; the cosine is negative in quarters 1 and 2, the sine in 2 and 3.
  const Bits odd = shift_right_signed<31>(shift_left<1>(quarter)), sign = set1_bits(1U << 31);
  const Bits cosine_sign = bit_and(add(quarter, set1_bits(1U << 30)), sign), sine_sign = bit_and(quarter, sign);
  cosine = as_floats(bit_xor(select(odd, as_bits(s), as_bits(c)), cosine_sign));
  sine = as_floats(bit_xor(select(odd, as_bits(c), as_bits(s)), sine_sign));
}

/// Two independent normals of two words: √(−2 ln u)·(cos, sin)(2π·w₁ / 2³²), u = w₀·2⁻³² + 2⁻³³.
ND_SIMD void box_muller(Bits w0, Bits w1, Vec& z0, Vec& z1) {
  const Vec radius = square_root(minus_two_log(w0));
  Vec cosine, sine;
  cos_sin(w1, cosine, sine);
  z0 = mul(radius, cosine);
  z1 = mul(radius, sine);
}

/// The normals of kWidth counters from `counter` on, a multiple of kWidth, and of those of the kBlocks − 1 groups after it;
/// z[b][j] lies b·64 + j·16 elements further.
template <int kBlocks>
ND_SIMD void philox_normals(uint64_t counter, uint64_t seed, uint32_t draw, Vec z[kBlocks][4]) {
  Bits word[kBlocks][4];
#pragma GCC unroll 2
  for (int b = 0; b < kBlocks; ++b) {
    const uint64_t first = counter + static_cast<uint64_t>(b * kPhiloxCounters);
    word[b][0] = add(set1_bits(static_cast<uint32_t>(first)), lane_numbers());
    word[b][1] = set1_bits(static_cast<uint32_t>(first >> 32));
    word[b][2] = set1_bits(draw);
    word[b][3] = set1_bits(0);
  }
  philox<kBlocks>(word, static_cast<uint32_t>(seed), static_cast<uint32_t>(seed >> 32));
#pragma GCC unroll 4
  for (int i = 0; i < 2 * kBlocks; ++i) {
    const int b = i / 2, j = i % 2 * 2;
    box_muller(word[b][j], word[b][j + 1], z[b][j], z[b][j + 1]);
  }
}
