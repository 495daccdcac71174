#include <algorithm>

#include "kernels/conv3x3.h"

namespace nd::kernels {

namespace {

/// Calls visit(place in OIHW, place in the packed memory) for each weight, in the order of the packed memory.
template <typename T, typename Visit>
void for_each_weight(const Conv3x3Weights<T>& weights, const Visit& visit) {
  const int64_t depth = 9 * weights.in_channels();
  for (int64_t panel = 0; panel < weights.panels(); ++panel) {
    const int64_t first = panel * Conv3x3Weights<T>::kPanel, lanes = weights.lanes(panel);
    const int64_t count = std::min(lanes, weights.out_channels() - first);
    for (int64_t i = 0; i < depth; ++i) {
      for (int64_t lane = 0; lane < count; ++lane) visit((first + lane) * depth + i, first * depth + i * lanes + lane);
    }
  }
}

}  // namespace

template <typename T>
Conv3x3Weights<T>::Conv3x3Weights(const T* oihw, int64_t out_channels, int64_t in_channels)
    : out_channels_(out_channels), in_channels_(in_channels) {
  const int64_t last = panels() - 1, begin = last * kPanel * 9 * in_channels;
  const int64_t size = begin + lanes(last) * 9 * in_channels;
  packed_ = AlignedMemory(static_cast<size_t>(size) * sizeof(T));
  T* to_packed = packed();
  if (out_channels % lanes(last) != 0) std::fill(to_packed + begin, to_packed + size, T{});  // lanes beyond the last channel
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
