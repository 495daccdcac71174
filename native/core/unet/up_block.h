#pragma once

#include "core/unet/down_block.h"

namespace nd {

/// diffusers' UpBlock2D, AttnUpBlock2D, ResnetUpsampleBlock2D, SkipUpBlock2D and AttnSkipUpBlock2D.
class UpBlock {
 public:
  struct Shape {
    UpBlockType type;
    int64_t in;        // channels of the last residual it takes
    int64_t previous;  // channels of the hidden state that comes in
    int64_t out;
    bool upsample;
  };

  /// `size`: of the input.
  UpBlock(const Scope& scope, const Shape& shape, const UNet2DConfig& config, TimeProjections& projections, ImageSize size);

  /// Takes as many residuals off the end as it has layers.
  void operator()(Flow& flow, const Condition& condition) const;

 private:
  void take_upsampler(const Scope& scope, const Shape& shape, const UNet2DConfig& config, TimeProjections& projections,
                      ImageSize size);
  void apply_skip(Flow& flow) const;

  bool skip_;
  std::vector<ResnetBlock> resnets_;
  std::vector<Attention> attentions_;    // one a layer; a Skip block has one after its layers
  ConvolutionPtr upsample_conv_;
  std::optional<ResnetBlock> upsample_resnet_;
  ConvolutionPtr skip_conv_;             // with the ResNet upsampler of a Skip block
  std::optional<GroupNorm> skip_norm_;
};

}  // namespace nd
