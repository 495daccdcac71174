#pragma once

#include "core/unet/unet2d_config.h"
#include "core/unet/unet2d_model.h"

namespace nd {

/// Throws ERR_SHAPE, ERR_DTYPE, ERR_DEVICE or ERR_ARGUMENT for what UNet2DModel::forward can't take.
void check_unet_inputs(const UNet2DConfig& config, const ModelTarget& target, const at::Tensor& sample,
                       const at::Tensor& timesteps, const at::Tensor& class_labels);

}  // namespace nd
