#pragma once

#include <ATen/core/Tensor.h>

#include <atomic>
#include <memory>

#include "core/checkpoint/torchscript_archive.h"
#include "core/engine/request.h"
#include "core/unet/unet2d_model.h"

namespace nd {

/// ε_θ(x_t, t) for a batch whose samples each have their own timestep, as the engine calls it.
class Denoiser {
 public:
  virtual ~Denoiser() = default;
  virtual ModelTarget target() const = 0;
  /// x [B, C, H, W]; timesteps [B] int64; class_labels as the model takes them, undefined for none. Gives [B, C or 2C, H, W];
  /// may throw anything. Ends soon after `cancelled` turns true, where it can.
  virtual at::Tensor operator()(const at::Tensor& x, const at::Tensor& timesteps, const at::Tensor& class_labels,
                                const std::atomic<bool>& cancelled) const = 0;
  /// The same in the way of a graph on CUDA: x in the model's dtype and NHWC memory, nothing is checked, nothing waits for the
  /// device, and the result may have any dense layout.
  virtual at::Tensor on_device(const at::Tensor& x, const at::Tensor& timesteps, const at::Tensor& class_labels) const = 0;
  /// Whether that serves a request. Throws for what the former would refuse of it: shape, timesteps, label.
  virtual bool takes_on_device(const SampleRequest& request) const = 0;
  /// Labels for a trial run of `batch` samples, on the host; undefined for a model without classes.
  virtual at::Tensor trial_labels(int64_t batch) const = 0;
};

std::unique_ptr<const Denoiser> make_denoiser(std::shared_ptr<const UNet2DModel> model);
/// The archive's weights as they are now. Its forward takes (sample, timestep[, class_labels]).
std::unique_ptr<const Denoiser> make_denoiser(const std::shared_ptr<const TorchScriptArchive>& archive);

}  // namespace nd
