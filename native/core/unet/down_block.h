#pragma once

#include "core/unet/block_layout.h"

#include <optional>
#include <vector>

namespace nd {

/// What goes along the UNet: the hidden state, what the down blocks leave for the up blocks, and the image that passes by
/// the Skip blocks (undefined where none does).
struct Flow {
  at::Tensor hidden;
  std::vector<at::Tensor> residuals;
  at::Tensor skip_image;
};

/// diffusers' DownBlock2D, AttnDownBlock2D, ResnetDownsampleBlock2D, SkipDownBlock2D and AttnSkipDownBlock2D.
class DownBlock {
 public:
  struct Shape {
    DownBlockType type;
    int64_t in;
    int64_t out;
    bool downsample;
  };

  /// `size`: of the input.
  DownBlock(const Scope& scope, const Shape& shape, const UNet2DConfig& config, TimeProjections& projections,
            ImageSize size);

  void operator()(Flow& flow, const Condition& condition) const;

 private:
  void take_downsampler(const Scope& scope, const Shape& shape, const UNet2DConfig& config, TimeProjections& projections,
                        ImageSize size);

  std::vector<ResnetBlock> resnets_;
  std::vector<Attention> attentions_;
  // One of these halves the image, or none does.
  ConvolutionPtr downsample_conv_;
  std::optional<ResnetBlock> downsample_resnet_;
  ConvolutionPtr skip_conv_;  // with the ResNet downsampler of a Skip block
};

}  // namespace nd
