#include "core/unet/unet_inputs.h"

#include <ATen/ATen.h>

#include "core/device.h"
#include "core/errors.h"

namespace nd {
namespace {

void check_device(const char* name, const at::Tensor& tensor, const ModelTarget& target) {
  if (tensor.device() == target.device) return;
  fail(ErrorCode::device, name, " must be on ", target.device.str(), " like the model, got ", tensor.device().str());
}

void check_sample(const UNet2DConfig& config, const at::Tensor& sample) {
  if (sample.dim() != 4 || sample.size(1) != config.in_channels || sample.size(0) < 1) {
    fail(ErrorCode::shape, "sample must have shape [B, ", config.in_channels, ", H, W], got ", sample.sizes());
  }
  const auto unit = config.size_unit();
  if (sample.size(2) < 1 || sample.size(3) < 1 || sample.size(2) % unit || sample.size(3) % unit) {
    fail(ErrorCode::shape, "sample's height and width must be multiples of ", unit, ", got ", sample.sizes());
  }
  if (!sample.is_floating_point()) {
    fail(ErrorCode::dtype, "sample must be of a floating dtype, got ", dtype_name(sample.scalar_type()));
  }
}

/// Beyond a table's end a lookup would read foreign memory, or lose a CUDA device to the whole process.
void check_range(const char* name, const at::Tensor& values, int64_t end) {
  const auto lowest = values.min().item<int64_t>(), highest = values.max().item<int64_t>();
  if (lowest < 0 || highest >= end) {
    fail(ErrorCode::argument, name, " must be in 0 … ", end - 1, ", got ", lowest < 0 ? lowest : highest);
  }
}

void check_timesteps(const UNet2DConfig& config, const at::Tensor& timesteps, int64_t batch) {
  if (timesteps.dim() != 1 || timesteps.size(0) != batch) {
    fail(ErrorCode::shape, "timesteps must have shape [", batch, "], one a sample, got ", timesteps.sizes());
  }
  const auto dtype = timesteps.scalar_type();
  if (dtype != at::kLong && dtype != at::kFloat) {
    fail(ErrorCode::dtype, "timesteps must be int64 or float32, got ", dtype_name(dtype));
  }
  if (config.time_embedding_type != TimeEmbeddingType::learned) return;
  if (dtype != at::kLong) fail(ErrorCode::timestep, "timesteps must be integers: the model has a learned row for each");
  check_range("timesteps", timesteps, *config.num_train_timesteps);
}

void check_class_labels(const UNet2DConfig& config, const at::Tensor& labels, int64_t batch) {
  if (config.class_embedding == ClassEmbedding::none) {
    if (labels.defined()) fail(ErrorCode::argument, "class_labels must not be given: the model has no classes");
    return;
  }
  if (!labels.defined()) fail(ErrorCode::argument, "class_labels is missing: the model is class-conditional");
  if (config.class_embedding == ClassEmbedding::identity) {
    if (labels.dim() != 2 || labels.size(0) != batch || labels.size(1) != config.time_embed_dim()) {
      fail(ErrorCode::shape, "class_labels must have shape [", batch, ", ", config.time_embed_dim(), "], got ",
           labels.sizes());
    }
    if (!labels.is_floating_point()) {
      fail(ErrorCode::dtype, "class_labels must be embeddings of a floating dtype, got ", dtype_name(labels.scalar_type()));
    }
    return;
  }
  if (labels.dim() != 1 || labels.size(0) != batch) {
    fail(ErrorCode::shape, "class_labels must have shape [", batch, "], one a sample, got ", labels.sizes());
  }
  if (labels.scalar_type() != at::kLong) {
    fail(ErrorCode::dtype, "class_labels must be int64, got ", dtype_name(labels.scalar_type()));
  }
  if (config.class_embedding == ClassEmbedding::table) check_range("class_labels", labels, *config.num_class_embeds);
  if (config.class_embedding == ClassEmbedding::timestep && config.time_embedding_type == TimeEmbeddingType::learned) {
    check_range("class_labels", labels, *config.num_train_timesteps);
  }
}

}  // namespace

void check_unet_inputs(const UNet2DConfig& config, const ModelTarget& target, const at::Tensor& sample,
                       const at::Tensor& timesteps, const at::Tensor& class_labels) {
  check_sample(config, sample);
  check_device("sample", sample, target);
  check_timesteps(config, timesteps, sample.size(0));
  check_device("timesteps", timesteps, target);
  check_class_labels(config, class_labels, sample.size(0));
  if (class_labels.defined()) check_device("class_labels", class_labels, target);
}

}  // namespace nd
