#pragma once

#include "core/unet/parameters.h"
#include "core/unet/unet2d_config.h"
#include "kernels/cuda_ops.h"

#include <optional>

namespace nd {

/// A time embedding's scale and shift, [B, C] each (resnet_time_scale_shift "scale_shift").
struct Modulation {
  at::Tensor scale;
  at::Tensor shift;
};

/// The same in float32 on CUDA, a row per sample with one stride; null pointers: none.
struct CudaModulation {
  cuda::ChannelRows scale;
  cuda::ChannelRows shift;
};

/// The activation in place; y must be nobody else's.
at::Tensor activate_(at::Tensor y, Activation activation);

/// GroupNorm and what follows it, statistics in fp32 whatever the dtype: act(norm(x)·(1 + scale) + shift).
class GroupNorm {
 public:
  /// Takes `weight` and `bias` of the scope, and keeps them for it. Without an activation: the norm alone.
  GroupNorm(const Scope& scope, int64_t channels, int64_t groups, double eps, std::optional<Activation> activation);

  /// x [B, C, H, W] in NHWC memory.
  at::Tensor operator()(const at::Tensor& x, const std::optional<Modulation>& modulation = std::nullopt) const;
  /// The same, written into x where it can be; nobody else may hold it.
  at::Tensor in_place(const at::Tensor& x, const std::optional<Modulation>& modulation = std::nullopt) const;
  /// Where the kernels of CUDA serve: of both side by side in their channels, which are not put together.
  at::Tensor of_two(const at::Tensor& x, const at::Tensor& second) const;
  /// Where the kernels of CUDA serve: of x + add in one pass, written into x.
  at::Tensor in_place(const at::Tensor& x, cuda::ChannelRows add, const CudaModulation& modulation = {}) const;

 private:
  at::Tensor on_cuda(const at::Tensor& x, const at::Tensor& second, const at::Tensor& y, cuda::ChannelRows add,
                     const CudaModulation& modulation) const;
  at::Tensor apply(const at::Tensor& x, bool may_write, const std::optional<Modulation>& modulation) const;

  int64_t channels_, groups_;
  double eps_;
  std::optional<Activation> activation_;
  at::Tensor weight_, bias_;              // in the model's dtype
  at::Tensor weight_float_, bias_float_;  // the same values for our own kernel
};

}  // namespace nd
