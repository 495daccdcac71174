#include <cstring>

#include "kernels/conv3x3.h"

namespace nd::kernels {

namespace {

/// Calls visit(place in OIHW, place in the packed memory) for each weight.
template <typename T, typename Visit>
void for_each_weight(const Conv3x3Weights<T>& weights, const Visit& visit) {
  constexpr int64_t kPanel = Conv3x3Weights<T>::kPanel;
  const int64_t channels = weights.in_channels();
  for (int64_t o = 0; o < weights.out_channels(); ++o) {
    const int64_t panel = o / kPanel, lane = o % kPanel, lanes = weights.lanes(panel);
    const int64_t begin = panel * kPanel * 9 * channels;
    for (int64_t i = 0; i < 9 * channels; ++i) visit(o * 9 * channels + i, begin + i * lanes + lane);
  }
}

}  // namespace

template <typename T>
Conv3x3Weights<T>::Conv3x3Weights(const T* oihw, int64_t out_channels, int64_t in_channels)
    : out_channels_(out_channels), in_channels_(in_channels) {
  const int64_t last = panels() - 1;
  packed_ = AlignedMemory(static_cast<size_t>((last * kPanel + lanes(last)) * 9 * in_channels) * sizeof(T));
  std::memset(packed_.data(), 0, packed_.bytes());
  T* to_packed = packed();
  for_each_weight(*this, [&](int64_t from, int64_t to) { to_packed[to] = oihw[from]; });
}

template <typename T>
void Conv3x3Weights<T>::unpack(T* oihw) const {
  const T* from_packed = packed();
  for_each_weight(*this, [&](int64_t to, int64_t from) { oihw[to] = from_packed[from]; });
}

template class Conv3x3Weights<float>;
template class Conv3x3Weights<uint16_t>;

}  // namespace nd::kernels
