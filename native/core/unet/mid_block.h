#pragma once

#include "core/unet/block_layout.h"

#include <optional>

namespace nd {

/// diffusers' UNetMidBlock2D: a ResNet block, attention if the config wants it, a ResNet block.
class MidBlock {
 public:
  MidBlock(const Scope& scope, const UNet2DConfig& config, TimeProjections& projections, ImageSize size);
  at::Tensor operator()(const at::Tensor& x, const Condition& condition) const;

 private:
  ResnetBlock first_;
  std::optional<Attention> attention_;
  ResnetBlock second_;
};

}  // namespace nd
