#pragma once

#include "core/checkpoint/safetensors_writer.h"
#include "core/checkpoint/state_dict.h"
#include "core/unet/unet2d_config.h"

#include <ATen/core/Generator.h>
#include <ATen/core/Tensor.h>

#include <atomic>
#include <memory>
#include <optional>
#include <string>

namespace nd {

class Condition;

/// Where a model computes and in what.
struct ModelTarget {
  at::Device device = at::kCPU;
  at::ScalarType dtype = at::kFloat;
};

/// diffusers' UNet2DModel: ε_θ(x_t, t) for a batch whose samples may each have their own timestep. Immutable once built;
/// every method may be called from several threads at once.
class UNet2DModel {
 public:
  /// Takes its weights out of a checkpoint, old names included. Throws one ERR_CHECKPOINT that lists every missing,
  /// unexpected and misshapen tensor.
  static std::shared_ptr<const UNet2DModel> load(const UNet2DConfig& config, std::shared_ptr<const StateDict> checkpoint,
                                                 ModelTarget target);
  /// Random weights from torch's default distributions (Linear and Conv2d: U(±1/√fan_in); norms: 1, 0; tables: N(0, 1)).
  static std::shared_ptr<const UNet2DModel> random(const UNet2DConfig& config, const at::Generator& generator,
                                                   ModelTarget target);
  /// The same weights elsewhere or in another dtype.
  std::shared_ptr<const UNet2DModel> to(ModelTarget target) const;

  ~UNet2DModel();

  /// One prediction. Throws ERR_SHAPE, ERR_DTYPE, ERR_DEVICE or ERR_ARGUMENT for inputs that do not fit, ERR_ABORTED soon
  /// after `cancelled` turns true.
  ///
  /// sample [B, in_channels, H, W], floating, on the device; timesteps [B], int64 or float32; class_labels, where the
  /// model has classes: [B] int64 (table, timestep) or [B, time_embed_dim] floating (identity).
  /// Gives [B, out_channels, H, W] in the model's dtype.
  at::Tensor forward(const at::Tensor& sample, const at::Tensor& timesteps, const at::Tensor& class_labels = {},
                     const std::atomic<bool>* cancelled = nullptr) const;

  /// The same launch by launch: forward()'s graphs on CUDA are for the default stream, this is for any.
  at::Tensor forward_by_launches(const at::Tensor& sample, const at::Tensor& timesteps, const at::Tensor& class_labels = {},
                                 const std::atomic<bool>* cancelled = nullptr) const;
  /// Shapes of inputs whose forward is a graph, and why one is none; see ForwardGraphs.
  int64_t graphs() const;
  std::string capture_failure() const;

  /// The same, part by part, for who captures it in a graph: nothing is checked and nothing waits for the device.
  Condition condition(const at::Tensor& timesteps, const at::Tensor& class_labels) const;
  /// Rows for the timesteps 0 … count − 1, and conditions out of it; undefined where the model has other ways: classes, a
  /// Fourier embedding, a device without our kernels. A learned embedding has as many rows as it has, whatever the count.
  at::Tensor time_table(int64_t count) const;
  Condition look_up(const at::Tensor& table, const at::Tensor& timesteps) const;
  /// x in the model's dtype and NHWC memory. The result's memory may be NHWC.
  at::Tensor predict(at::Tensor x, const at::Tensor& timesteps, const Condition& condition,
                     const std::atomic<bool>* cancelled = nullptr) const;

  const UNet2DConfig& config() const;
  const ModelTarget& target() const;
  /// Entries of all parameters.
  int64_t parameter_count() const;

  /// Every parameter by diffusers' name, in the model's dtype, contiguous, on the CPU. Made when asked for: not kept.
  NamedTensors state_dict() const;

 private:
  struct Parts;
  explicit UNet2DModel(std::unique_ptr<Parts> parts);
  std::unique_ptr<Parts> parts_;
};

}  // namespace nd
