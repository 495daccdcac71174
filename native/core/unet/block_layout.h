#pragma once

#include "core/unet/attention.h"
#include "core/unet/resnet_block.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace nd {

/// What the Skip blocks of NCSN++ (Song et al. 2021, arXiv:2011.13456) fix where the others follow the config: their
/// outputs are divided by √2, and their norms have min(C/4, 32) groups, those of their attention 32.
inline constexpr double skip_output_scale = std::numbers::sqrt2;
inline constexpr int64_t skip_attention_groups = 32;
/// The channels of the image that goes past the Skip blocks.
inline constexpr int64_t skip_image_channels = 3;
inline int64_t skip_groups(int64_t channels) { return std::min<int64_t>(channels / 4, 32); }

/// The groups of a norm that no Skip block holds; diffusers' fallback where the config names none.
inline int64_t norm_groups(const UNet2DConfig& config, int64_t channels) {
  return config.norm_num_groups.value_or(skip_groups(channels));
}

inline int64_t head_dim(const UNet2DConfig& config, int64_t channels) {
  return config.attention_head_dim.value_or(channels);
}

inline Attention::Shape attention_shape(const UNet2DConfig& config, int64_t channels) {
  return {channels, head_dim(config, channels), norm_groups(config, channels), config.norm_eps};
}

inline Attention::Shape skip_attention_shape(const UNet2DConfig& config, int64_t channels) {
  return {channels, head_dim(config, channels), skip_attention_groups, config.norm_eps, skip_output_scale};
}

}  // namespace nd
