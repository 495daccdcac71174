#pragma once

#include "core/unet/convolution.h"
#include "core/unet/normalization.h"
#include "core/unet/resample.h"
#include "core/unet/time_embedding.h"

namespace nd {

/// diffusers' ResnetBlock2D.
class ResnetBlock {
 public:
  struct Shape {
    int64_t in;
    int64_t out;
    int64_t groups;
    int64_t groups_out;
    Resample resample = Resample::none;
    bool shortcut = false;  // a 1×1 convolution on the way past, even where in = out
    double output_scale_factor = 1;
  };

  /// `size`: of the input.
  ResnetBlock(const Scope& scope, const Shape& shape, const UNet2DConfig& config, TimeProjections& projections,
              ImageSize size);

  at::Tensor operator()(const at::Tensor& x, const Condition& condition) const;
  /// Of both side by side in their channels.
  at::Tensor operator()(const at::Tensor& x, const at::Tensor& second, const Condition& condition) const;

 private:
  at::Tensor normed(const at::Tensor& h, const Condition& condition) const;
  at::Tensor finished_on_cuda(const at::Tensor& h, const at::Tensor& past, const at::Tensor& second) const;

  Resample resample_;
  double output_scale_factor_;
  TimeScaleShift time_scale_shift_;
  GroupNorm norm1_;
  ConvolutionPtr conv1_;
  TimeProjections::Slot time_slot_;
  GroupNorm norm2_;
  ConvolutionPtr conv2_, shortcut_;
  ConvolutionBias last_bias_;  // conv2's and the shortcut's together
};

}  // namespace nd
