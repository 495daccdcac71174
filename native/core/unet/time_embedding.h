#pragma once

#include "core/unet/parameters.h"
#include "core/unet/unet2d_config.h"
#include "kernels/cuda_ops.h"

#include <memory>
#include <mutex>
#include <unordered_map>
#include <vector>

namespace nd {

/// y = x·Wᵀ + b for a few rows.
class Linear {
 public:
  Linear() = default;
  /// Takes `weight` [out, in] and `bias` [out] of the scope, and keeps them for it.
  Linear(const Scope& scope, int64_t in, int64_t out);
  at::Tensor operator()(const at::Tensor& x) const;

 private:
  at::Tensor weight_, bias_;
};

/// Every ResNet block's time_emb_proj as one matrix, so that a forward multiplies once for them all.
class TimeProjections {
 public:
  struct Slot {
    int64_t offset;
    int64_t width;
  };

  /// Takes `weight` and `bias` of the scope; they are the rows offset … offset + width.
  Slot add(const Scope& scope, int64_t in, int64_t width);
  /// A convolution's bias [width], float, that on CUDA comes with the slot's values.
  void fold(Slot slot, const at::Tensor& bias);
  /// After the last add: lays the rows out as one matrix.
  void finish();

  /// [D, in] → [D, all widths].
  at::Tensor operator()(const at::Tensor& x) const;
  /// Those rows in float32, the folded biases added.
  at::Tensor folded(const at::Tensor& rows) const { return rows.to(at::kFloat).add_(folds_); }

 private:
  struct Matrix {
    at::Tensor weight, bias;
  };
  int64_t width_ = 0;
  std::vector<at::Tensor> weights_, biases_;
  std::vector<std::pair<Slot, at::Tensor>> biases_to_fold_;
  at::Tensor folds_;  // [all widths]
  std::shared_ptr<Matrix> matrix_ = std::make_shared<Matrix>();
};

/// The condition of one forward: what each ResNet block adds for its timestep and class, a row per sample.
class Condition {
 public:
  /// rows [B, all widths]; for CUDA's kernels in float32, with the folded biases.
  explicit Condition(at::Tensor rows, bool for_cuda = false) : rows_(std::move(rows)), for_cuda_(for_cuda) {}
  /// [B, width].
  at::Tensor operator[](TimeProjections::Slot slot) const { return rows_.narrow(1, slot.offset, slot.width).contiguous(); }

  bool is_for_cuda() const { return for_cuda_; }
  cuda::ChannelRows rows(TimeProjections::Slot slot) const { return cuda::channel_rows(rows_, slot.offset); }

 private:
  at::Tensor rows_;
  bool for_cuda_;
};

/// Rows for timesteps seen before. A sampler asks for the same few again and again.
class TimeRowCache {
 public:
  at::Tensor find(int64_t key) const;
  void add(int64_t key, at::Tensor row);

 private:
  mutable std::mutex mutex_;
  std::unordered_map<int64_t, at::Tensor> rows_;
};

/// Timesteps, and classes where the model has them, to what the ResNet blocks add.
class TimeEmbedding {
 public:
  TimeEmbedding(const Scope& scope, const UNet2DConfig& config);

  /// The blocks' projections, added while they are built.
  TimeProjections& projections() { return projections_; }

  /// timesteps [B] int64 or float32; class_labels as UNet2DModel::forward takes them, checked.
  Condition operator()(const at::Tensor& timesteps, const at::Tensor& class_labels) const;

  /// Where CUDA's kernels serve a model whose time does not depend on classes: what the timesteps 0 … count − 1 give, a row
  /// each, and the condition out of it. Neither waits for the device.
  at::Tensor table(int64_t count) const;
  Condition look_up(const at::Tensor& table, const at::Tensor& timesteps) const {
    return Condition(cuda::gather_rows(table, timesteps), true);
  }

 private:
  at::Tensor encode(const at::Tensor& timesteps) const;
  at::Tensor embed_classes(const at::Tensor& class_labels) const;
  at::Tensor rows(const at::Tensor& timesteps, const at::Tensor& class_labels) const;
  at::Tensor rows_in_any_batch(const at::Tensor& timesteps, const at::Tensor& class_labels) const;
  at::Tensor cached_rows(const at::Tensor& timesteps) const;

  UNet2DConfig config_;
  ModelTarget target_;
  at::Tensor table_;  // fourier: the frequencies; learned: a row per timestep
  Linear linear_1_, linear_2_;
  Linear class_linear_1_, class_linear_2_;
  at::Tensor class_table_;
  TimeProjections projections_;
  std::unique_ptr<TimeRowCache> cache_ = std::make_unique<TimeRowCache>();
};

}  // namespace nd
