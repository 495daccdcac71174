#pragma once

#include "core/checkpoint/state_dict.h"
#include "core/unet/convolution.h"

#include <string>
#include <vector>

namespace nd::bench {

/// A layer of a UNet, as its parameters' names and shapes tell it.
struct UNetLayer {
  enum class Kind { convolution, norm, attention, time_projection } kind;
  std::string name;          // its scope
  ConvShape shape;           // in and out are channels, whatever the kind
  ImageSize size;            // of the input
  std::string_view last() const { return std::string_view(name).substr(name.rfind('.') + 1); }
};

/// The layers of one forward. Throws ERR_CONFIG for blocks other than DownBlock2D, AttnDownBlock2D and their mirrors.
std::vector<UNetLayer> unet_layers(const UNet2DConfig& config, const StateDict& checkpoint);

}  // namespace nd::bench
