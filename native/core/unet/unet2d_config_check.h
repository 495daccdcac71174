#pragma once

#include "core/unet/unet2d_config.h"

namespace nd {

/// What keys mean together: lengths, groups that divide the channels they norm, blocks that can follow each other.
/// Throws ERR_CONFIG naming the key for a config that no UNet2DModel can honour.
void check_unet2d_config(const UNet2DConfig& config);

}  // namespace nd
