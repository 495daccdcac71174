// Included once per instruction set, inside its namespace, after its simd_*.h. No include guard: that is the point.
//
// Winograd's F(4×4, 3×3): Y = Aᵀ[(G·g·Gᵀ) ⊙ (Bᵀ·d·B)]A (Lavin & Gray 2015, eq. 8), over the points 0, ±a, ±b, ∞.
// The rounding error of a = 5/8, b = 3/2 is less than half that of the usual 1 and 2 (compare Barabasz, Anderson,
// Soodhalter & Gregg 2020, "Error analysis and improving the accuracy of Winograd convolution for deep neural
// networks"). G's row for a point p is [1, p, p²]/N_p with N_p = Π_{q≠p}(p − q); 1/N_p waits for `output`, where it costs nothing.

constexpr float kA = 0.625F, kB = 1.5F, kA2 = kA * kA, kB2 = kB * kB;
constexpr float kNorm0 = 1.0F / (kA2 * kB2);
constexpr float kNormA = 1.0F / (2 * kA2 * (kA2 - kB2));
constexpr float kNormB = 1.0F / (2 * kB2 * (kB2 - kA2));

using winograd::kDepth;
using winograd::kTile;

/// Bᵀ·d
ND_SIMD void transform_input(const Vec d[6], Vec out[6]) {
  const Vec a2b2 = set1(kA2 * kB2), sum = set1(-(kA2 + kB2)), minus_a2 = set1(-kA2), minus_b2 = set1(-kB2);
  out[0] = fma(d[0], a2b2, fma(d[2], sum, d[4]));
  const Vec even_a = fma(d[2], minus_b2, d[4]), odd_a = fma(d[1], minus_b2, d[3]);
  out[1] = fma(odd_a, set1(kA), even_a);
  out[2] = fma(odd_a, set1(-kA), even_a);
  const Vec even_b = fma(d[2], minus_a2, d[4]), odd_b = fma(d[1], minus_a2, d[3]);
  out[3] = fma(odd_b, set1(kB), even_b);
  out[4] = fma(odd_b, set1(-kB), even_b);
  out[5] = fma(d[1], a2b2, fma(d[3], sum, d[5]));
}

/// N·G·g
ND_SIMD void transform_filter(const Vec g[3], Vec out[6]) {
  out[0] = g[0];
  const Vec even_a = fma(g[2], set1(kA2), g[0]), even_b = fma(g[2], set1(kB2), g[0]);
  out[1] = fma(g[1], set1(kA), even_a);
  out[2] = fma(g[1], set1(-kA), even_a);
  out[3] = fma(g[1], set1(kB), even_b);
  out[4] = fma(g[1], set1(-kB), even_b);
  out[5] = g[2];
}

/// Aᵀ·N⁻¹·m
ND_SIMD void transform_output(const Vec m[6], Vec out[4]) {
  const Vec sum_a = add(m[1], m[2]), difference_a = sub(m[1], m[2]);
  const Vec sum_b = add(m[3], m[4]), difference_b = sub(m[3], m[4]);
  out[0] = fma(m[0], set1(kNorm0), fma(sum_a, set1(kNormA), mul(sum_b, set1(kNormB))));
  out[1] = fma(difference_a, set1(kNormA * kA), mul(difference_b, set1(kNormB * kB)));
  out[2] = fma(sum_a, set1(kNormA * kA2), mul(sum_b, set1(kNormB * kB2)));
  out[3] = fma(difference_a, set1(kNormA * kA2 * kA), fma(difference_b, set1(kNormB * kB2 * kB), m[5]));
}

/// One vector of channels of a tile, whose first input is image[corner] where that exists. `valid` has bit 6·i + j set where input (i, j) lies in the image.
template <bool kInside, bool kWhole, typename T>
ND_SIMD void input_vector(const T* image, int64_t corner, int64_t row, int64_t column, uint64_t valid, int64_t n,
                          float* v, int64_t plane) {
  Vec half[6][6];
#pragma GCC unroll 6
  for (int j = 0; j < 6; ++j) {
    Vec d[6], out[6];
#pragma GCC unroll 6
    for (int i = 0; i < 6; ++i) {
      if (!kInside && ((valid >> (6 * i + j)) & 1) == 0) {
        d[i] = zero();
      } else {
        const T* p = image + (corner + i * row + j * column);
        d[i] = kWhole ? load(p) : load_first(p, n);
      }
    }
    transform_input(d, out);
#pragma GCC unroll 6
    for (int i = 0; i < 6; ++i) half[i][j] = out[i];
  }
#pragma GCC unroll 6
  for (int i = 0; i < 6; ++i) {
    Vec out[6];
    transform_input(half[i], out);
#pragma GCC unroll 6
    for (int j = 0; j < 6; ++j) store(v + (6 * i + j) * plane, out[j]);
  }
}

template <typename T>
static void input(const T* image, int64_t height, int64_t width, int64_t channels, WinogradTile tile, float* v,
                  int64_t plane) {
  const int64_t row = width * channels, top = tile.top - 1, left = tile.left - 1;
  const int64_t corner = (tile.sample * height + top) * row + left * channels;
  uint64_t valid = 0;
  for (int i = 0; i < 6; ++i) {
    for (int j = 0; j < 6; ++j) {
      const bool in = top + i >= 0 && top + i < height && left + j >= 0 && left + j < width;
      valid |= static_cast<uint64_t>(in) << (6 * i + j);
    }
  }
  const bool inside = valid == (uint64_t{1} << 36) - 1;
  for (int64_t c = 0; c < channels; c += kWidth) {
    float* to = v + c / kDepth * winograd::kPoints * plane + c % kDepth;
    const int64_t n = channels - c < kWidth ? channels - c : kWidth;
    if (inside && n == kWidth) {
      input_vector<true, true>(image, corner + c, row, channels, valid, n, to, plane);
    } else if (n == kWidth) {
      input_vector<false, true>(image, corner + c, row, channels, valid, n, to, plane);
    } else {
      input_vector<false, false>(image, corner + c, row, channels, valid, n, to, plane);
    }
  }
}

template <typename T>
static void filter(const T* g, int64_t channels, int64_t lanes, float* u, int64_t plane) {
  for (int64_t c = 0; c < channels; ++c, g += 9 * lanes, u += lanes) {
    for (int64_t lane = 0; lane < lanes; lane += kWidth) {
      Vec half[6][3];
#pragma GCC unroll 3
      for (int j = 0; j < 3; ++j) {
        const T* p = g + j * lanes + lane;
        const Vec column[3] = {load(p), load(p + 3 * lanes), load(p + 6 * lanes)};
        Vec out[6];
        transform_filter(column, out);
#pragma GCC unroll 6
        for (int i = 0; i < 6; ++i) half[i][j] = out[i];
      }
#pragma GCC unroll 6
      for (int i = 0; i < 6; ++i) {
        Vec out[6];
        transform_filter(half[i], out);
#pragma GCC unroll 6
        for (int j = 0; j < 6; ++j) store(u + (6 * i + j) * plane + lane, out[j]);
      }
    }
  }
}

/// kRows rows by kVectors vectors of m in registers, over the whole depth.
template <int kRows, int kVectors, int64_t kLanes>
static void block_product(const float* v, const float* u, int64_t depth, float* m, bool accumulate) {
  Vec sums[kRows][kVectors];
#pragma GCC unroll 16
  for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 2
    for (int i = 0; i < kVectors; ++i) sums[r][i] = zero();
  }
#pragma GCC unroll 4
  for (int64_t k = 0; k < depth; ++k) {
    Vec weights[kVectors];
#pragma GCC unroll 2
    for (int i = 0; i < kVectors; ++i) weights[i] = load(u + k * kLanes + i * kWidth);
#pragma GCC unroll 16
    for (int r = 0; r < kRows; ++r) {
      const Vec value = set1(v[r * kDepth + k]);
#pragma GCC unroll 2
      for (int i = 0; i < kVectors; ++i) sums[r][i] = fma(value, weights[i], sums[r][i]);
    }
  }
#pragma GCC unroll 16
  for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 2
    for (int i = 0; i < kVectors; ++i) {
      // Each depth's sum by itself before the sum of sums: half the rounding error of one long sum at 512 channels.
      float* to = m + r * kLanes + i * kWidth;
      store(to, accumulate ? add(load(to), sums[r][i]) : sums[r][i]);
    }
  }
}

/// Two vectors of weights and one of values leave room for this many rows.
constexpr int kMaxRows = (kRegisters - 3) / 2 < 14 ? (kRegisters - 3) / 2 : 14;

template <int kVectors, int64_t kLanes>
static void rows_product(int rows, const float* v, const float* u, int64_t depth, float* m, bool accumulate) {
  switch (rows) {
    case 1: return block_product<1, kVectors, kLanes>(v, u, depth, m, accumulate);
    case 2: return block_product<2, kVectors, kLanes>(v, u, depth, m, accumulate);
    case 3: return block_product<3, kVectors, kLanes>(v, u, depth, m, accumulate);
    case 4: return block_product<4, kVectors, kLanes>(v, u, depth, m, accumulate);
    case 5: return block_product<5, kVectors, kLanes>(v, u, depth, m, accumulate);
    case 6: return block_product<6, kVectors, kLanes>(v, u, depth, m, accumulate);
    default: break;
  }
  if constexpr (kMaxRows > 6) {
    switch (rows) {
      case 7: return block_product<7, kVectors, kLanes>(v, u, depth, m, accumulate);
      case 8: return block_product<8, kVectors, kLanes>(v, u, depth, m, accumulate);
      case 9: return block_product<9, kVectors, kLanes>(v, u, depth, m, accumulate);
      case 10: return block_product<10, kVectors, kLanes>(v, u, depth, m, accumulate);
      case 11: return block_product<11, kVectors, kLanes>(v, u, depth, m, accumulate);
      case 12: return block_product<12, kVectors, kLanes>(v, u, depth, m, accumulate);
      case 13: return block_product<13, kVectors, kLanes>(v, u, depth, m, accumulate);
      default: return block_product<14, kVectors, kLanes>(v, u, depth, m, accumulate);
    }
  }
}

template <int64_t kLanes>
static void panel_product(const float* v, int64_t rows, const float* u, int64_t depth, float* m, bool accumulate) {
  constexpr int kVectors = kLanes / kWidth < 2 ? 1 : 2;
  int64_t blocks = (rows + kMaxRows - 1) / kMaxRows;
  while (rows > 0) {
    const int64_t now = (rows + blocks - 1) / blocks;  // even blocks: no short last one
    for (int64_t lane = 0; lane < kLanes; lane += kVectors * kWidth) {
      rows_product<kVectors, kLanes>(static_cast<int>(now), v, u + lane, depth, m + lane, accumulate);
    }
    v += now * kDepth;
    m += now * kLanes;
    rows -= now;
    --blocks;
  }
}

static void product(const float* v, int64_t rows, const float* u, int64_t depth, int64_t lanes, float* m, bool add) {
  if (lanes == winograd::kPanel) {
    panel_product<winograd::kPanel>(v, rows, u, depth, m, add);
  } else {
    panel_product<winograd::kPanel / 2>(v, rows, u, depth, m, add);
  }
}

/// One vector of output channels of a tile; n of its lanes count.
template <bool kWhole, typename T>
ND_SIMD void output_vector(const float* m, int64_t plane, T* y, Conv3x3Shape shape, int64_t channels,
                           WinogradTile tile, int64_t first, int64_t n, const Conv3x3Epilogue<T>& epilogue) {
  const auto get = [n](const auto* p) __attribute__((always_inline)) { return kWhole ? load(p) : load_first(p, n); };
  Vec half[4][6];
#pragma GCC unroll 6
  for (int j = 0; j < 6; ++j) {
    Vec column[6], out[4];
#pragma GCC unroll 6
    for (int i = 0; i < 6; ++i) column[i] = load(m + (6 * i + j) * plane);
    transform_output(column, out);
#pragma GCC unroll 4
    for (int i = 0; i < 4; ++i) half[i][j] = out[i];
  }
  Vec offset = epilogue.bias == nullptr ? zero() : get(epilogue.bias + first);
  if (epilogue.offset != nullptr) {
    offset = add(offset, get(epilogue.offset + tile.sample * epilogue.offset_stride + first));
  }
  const int64_t rows = shape.height - tile.top < kTile ? shape.height - tile.top : kTile;
  const int64_t columns = shape.width - tile.left < kTile ? shape.width - tile.left : kTile;
  const int64_t corner = ((tile.sample * shape.height + tile.top) * shape.width + tile.left) * channels + first;
  for (int i = 0; i < rows; ++i) {
    Vec out[4];
    transform_output(half[i], out);
    for (int j = 0; j < columns; ++j) {
      const int64_t at = corner + (i * shape.width + j) * channels;
      Vec value = add(out[j], offset);
      if (epilogue.residual != nullptr) value = add(value, get(epilogue.residual + at));
      value = mul(value, set1(epilogue.factor));
      if (kWhole) {
        store(y + at, value);
      } else {
        store_first(y + at, value, n);
      }
    }
  }
}

template <typename T>
static void output(const float* m, int64_t plane, T* y, Conv3x3Shape shape, int64_t channels, WinogradTile tile,
                   int64_t first, int64_t count, const Conv3x3Epilogue<T>& epilogue) {
  int64_t lane = 0;
  for (; lane + kWidth <= count; lane += kWidth) {
    output_vector<true>(m + lane, plane, y, shape, channels, tile, first + lane, kWidth, epilogue);
  }
  if (lane < count) {
    output_vector<false>(m + lane, plane, y, shape, channels, tile, first + lane, count - lane, epilogue);
  }
}
