#pragma once

#include "core/unet/unet2d_config.h"

#include <algorithm>
#include <chrono>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

/// What the native benchmarks share.
namespace nd::bench {

using Clock = std::chrono::steady_clock;

inline double milliseconds_since(Clock::time_point start) {
  return std::chrono::duration<double, std::milli>(Clock::now() - start).count();
}

/// The value below which that share of them lies: 0.5 is the median.
inline double quantile(std::vector<double> values, double share) {
  const auto at = values.begin() + static_cast<int64_t>(share * static_cast<double>(values.size()));
  std::nth_element(values.begin(), at, values.end());
  return *at;
}
inline double median(std::vector<double> values) { return quantile(std::move(values), 0.5); }

/// A model's folder in diffusers' format: the UNet's own.
inline UNet2DConfig read_config(const std::string& folder) {
  std::ifstream file(folder + "/config.json");
  return parse_unet2d_config(std::string{std::istreambuf_iterator<char>(file), {}});
}
inline std::string weights_file(const std::string& folder) { return folder + "/diffusion_pytorch_model.safetensors"; }

}  // namespace nd::bench
