// Included after winograd_body.h's transforms. With a few tiles, storing the transformed weights costs more than the
// products; here they never leave the registers. Every sum has winograd_body.h's order, and so its bits.

/// Channels per turn: their weights stay in the first cache while the rows of points pass over them.
constexpr int64_t kTurn = 16;
/// Tiles that `few` takes: a row of points' sums, 6 per tile, in registers.
constexpr int64_t kFew = kRegisters >= 32 ? 4 : 1;

/// Row i of N·G·g for one input channel.
template <int kRow>
ND_SIMD void filter_row(const Vec g[3][3], Vec out[6]) {
  constexpr float kPoint = kRow < 3 ? kA : kB;
  Vec half[3];
#pragma GCC unroll 3
  for (int j = 0; j < 3; ++j) {
    if constexpr (kRow == 0 || kRow == 5) {
      half[j] = g[kRow == 0 ? 0 : 2][j];
    } else {
      half[j] = fma(g[1][j], set1(kRow % 2 == 1 ? kPoint : -kPoint), fma(g[2][j], set1(kPoint * kPoint), g[0][j]));
    }
  }
  transform_filter(half, out);
}

template <int kTiles, int kRow>
ND_SIMD void add_row(const Vec g[3][3], const float* v, int64_t plane, Vec sums[6][kTiles]) {
  Vec u[6];
  filter_row<kRow>(g, u);
#pragma GCC unroll 6
  for (int j = 0; j < 6; ++j) {
#pragma GCC unroll 4
    for (int t = 0; t < kTiles; ++t) sums[j][t] = fma(set1(v[j * plane + t * kDepth]), u[j], sums[j][t]);
  }
}

/// A turn's channels into the sums of the rows of points kFirst and, if another, kSecond.
template <int kTiles, int kFirst, int kSecond, typename T>
ND_SIMD void few_rows(const T* g, int64_t channels, int64_t lanes, const float* v, int64_t plane, float* sums) {
  constexpr bool kBoth = kFirst != kSecond;
  Vec first[6][kTiles], second[6][kTiles];
  float* const first_at = sums + kFirst * 6 * kTiles * kWidth;
  float* const second_at = sums + kSecond * 6 * kTiles * kWidth;
#pragma GCC unroll 24
  for (int i = 0; i < 6 * kTiles; ++i) {
    first[i / kTiles][i % kTiles] = load(first_at + i * kWidth);
    if (kBoth) second[i / kTiles][i % kTiles] = load(second_at + i * kWidth);
  }
  for (int64_t c = 0; c < channels; ++c) {
    Vec weights[3][3];
#pragma GCC unroll 9
    for (int i = 0; i < 9; ++i) weights[i / 3][i % 3] = load(g + (9 * c + i) * lanes);
    if (kFirst == 0) {
#pragma GCC unroll 9
      for (int i = 0; i < 9; ++i) __builtin_prefetch(g + (9 * (c + 2 * kTurn) + i) * lanes, 0, 2);
    }
    add_row<kTiles, kFirst>(weights, v + kFirst * 6 * plane + c, plane, first);
    if constexpr (kBoth) add_row<kTiles, kSecond>(weights, v + kSecond * 6 * plane + c, plane, second);
  }
#pragma GCC unroll 24
  for (int i = 0; i < 6 * kTiles; ++i) {
    store(first_at + i * kWidth, first[i / kTiles][i % kTiles]);
    if (kBoth) store(second_at + i * kWidth, second[i / kTiles][i % kTiles]);
  }
}

template <int kTiles, typename T>
static void few_tiles(const T* g, int64_t channels, int64_t lanes, const float* v, int64_t v_plane, float* m,
                      int64_t m_plane, bool accumulate) {
  constexpr int64_t kSums = winograd::kPoints * kTiles * kWidth;
  alignas(64) float sums[winograd::kPanel / kWidth * kSums];
  for (int64_t i = 0; i < lanes / kWidth * kSums; i += kWidth) store(sums + i, zero());
  for (int64_t c = 0; c < channels; c += kTurn) {
    const int64_t now = channels - c < kTurn ? channels - c : kTurn;
    for (int64_t lane = 0; lane < lanes; lane += kWidth) {
      const T* weights = g + c * 9 * lanes + lane;
      float* own = sums + lane / kWidth * kSums;
      if constexpr (12 * kTiles + 8 <= kRegisters) {
        few_rows<kTiles, 0, 5>(weights, now, lanes, v + c, v_plane, own);
        few_rows<kTiles, 1, 2>(weights, now, lanes, v + c, v_plane, own);
        few_rows<kTiles, 3, 4>(weights, now, lanes, v + c, v_plane, own);
      } else {
        few_rows<kTiles, 0, 0>(weights, now, lanes, v + c, v_plane, own);
        few_rows<kTiles, 1, 1>(weights, now, lanes, v + c, v_plane, own);
        few_rows<kTiles, 2, 2>(weights, now, lanes, v + c, v_plane, own);
        few_rows<kTiles, 3, 3>(weights, now, lanes, v + c, v_plane, own);
        few_rows<kTiles, 4, 4>(weights, now, lanes, v + c, v_plane, own);
        few_rows<kTiles, 5, 5>(weights, now, lanes, v + c, v_plane, own);
      }
    }
  }
  for (int64_t lane = 0; lane < lanes; lane += kWidth) {
    for (int64_t i = 0; i < winograd::kPoints * kTiles; ++i) {
      const Vec sum = load(sums + lane / kWidth * kSums + i * kWidth);
      float* to = m + i / kTiles * m_plane + i % kTiles * lanes + lane;
      store(to, accumulate ? add(load(to), sum) : sum);
    }
  }
}

template <typename T>
static bool few(const T* g, int64_t channels, int64_t lanes, const float* v, int64_t v_plane, int64_t tiles, float* m,
                int64_t m_plane, bool add) {
  if (tiles > kFew) return false;
  if (tiles == 1) few_tiles<1>(g, channels, lanes, v, v_plane, m, m_plane, add);
  if constexpr (kFew > 1) {
    if (tiles == 2) few_tiles<2>(g, channels, lanes, v, v_plane, m, m_plane, add);
    if (tiles == 3) few_tiles<3>(g, channels, lanes, v, v_plane, m, m_plane, add);
    if (tiles == 4) few_tiles<4>(g, channels, lanes, v, v_plane, m, m_plane, add);
  }
  return true;
}

template <typename T>
constexpr WinogradKernels<T> kWinograd{&input<T>, &filter<T>, &product, &few<T>, &output<T>};
extern const WinogradKernels<float> winograd_f32;
extern const WinogradKernels<uint16_t> winograd_bf16;
const WinogradKernels<float> winograd_f32 = kWinograd<float>;
const WinogradKernels<uint16_t> winograd_bf16 = kWinograd<uint16_t>;
