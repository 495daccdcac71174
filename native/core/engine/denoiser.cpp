#include "core/engine/denoiser.h"

#include <ATen/ATen.h>

#include <algorithm>

#include "core/errors.h"
#include "core/unet/time_embedding.h"
#include "core/unet/unet_inputs.h"

namespace nd {
namespace {

/// Whether split_model_output takes so many channels.
bool fits(const NoiseScheduler& scheduler, int64_t channels, int64_t out_channels) {
  if (scheduler.learned_variance() != LearnedVariance::none) return out_channels == 2 * channels;
  return out_channels == channels || (out_channels == 2 * channels && scheduler.drops_learned_variance());
}

class UNetDenoiser final : public Denoiser {
 public:
  explicit UNetDenoiser(std::shared_ptr<const UNet2DModel> model) : model_(std::move(model)) {}

  ModelTarget target() const override { return model_->target(); }
  at::Tensor operator()(const at::Tensor& x, const at::Tensor& timesteps, const at::Tensor& class_labels,
                        const std::atomic<bool>& cancelled) const override {
    return model_->forward_by_launches(x, timesteps, class_labels, &cancelled);  // the engine's stream is its own
  }
  at::Tensor on_device(const at::Tensor& x, const at::Tensor& timesteps, const at::Tensor& class_labels) const override {
    if (!table_made_) {
      table_ = model_->time_table(kTableRows);
      table_made_ = true;
    }
    const auto condition = table_.defined() ? model_->look_up(table_, timesteps) : model_->condition(timesteps, class_labels);
    return model_->predict(x, timesteps, condition);
  }
  bool takes_on_device(const SampleRequest& request) const override {
    const auto [channels, height, width] = request.shape;
    const auto sample = at::empty({1, channels, height, width});
    const auto& label = request.class_label;
    const auto [first, last] = std::ranges::minmax_element(request.plan->steps, {}, &PlannedStep::timestep);
    for (const auto timestep : {first->timestep, last->timestep}) {
      for (const auto* each : {&label, &request.null_label}) {
        if (each == &request.null_label && !request.guided()) continue;
        const auto on_host = each->defined() ? each->cpu() : at::Tensor();
        check_unet_inputs(model_->config(), {at::kCPU, target().dtype}, sample, at::tensor({timestep}, at::kLong), on_host);
      }
    }
    return (last->timestep < kTableRows || label.defined()) && fits(*request.plan->scheduler, channels, model_->config().out_channels);
  }
  at::Tensor trial_labels(int64_t batch) const override {
    const auto& config = model_->config();
    switch (config.class_embedding) {
      case ClassEmbedding::none: return {};
      case ClassEmbedding::identity:
        return at::zeros({batch, config.time_embed_dim()}, at::dtype(target().dtype));
      default: return at::zeros({batch}, at::kLong);
    }
  }

 private:
  /// Timesteps whose embeddings are kept; DDPM's are below 1000.
  static constexpr int64_t kTableRows = 1024;

  std::shared_ptr<const UNet2DModel> model_;
  mutable at::Tensor table_;  // the engine's thread's
  mutable bool table_made_ = false;
};

/// The tensor in what a UNet's forward gives: itself, the first of a tuple, or diffusers' `sample`.
at::Tensor sample_of(const c10::IValue& output) {
  if (output.isTensor()) return output.toTensor();
  if (output.isTuple() && !output.toTupleRef().elements().empty() && output.toTupleRef().elements()[0].isTensor()) {
    return output.toTupleRef().elements()[0].toTensor();
  }
  if (output.isGenericDict()) {
    const auto dict = output.toGenericDict();
    const auto found = dict.find("sample");
    if (found != dict.end() && found->value().isTensor()) return found->value().toTensor();
  }
  fail(ErrorCode::op, "the archive's forward must give a Tensor, a tuple that starts with one or a record with 'sample'");
}

class TorchScriptDenoiser final : public Denoiser {
 public:
  explicit TorchScriptDenoiser(const std::shared_ptr<const TorchScriptArchive>& archive)
      : archive_(archive), state_(archive->state()) {}

  ModelTarget target() const override { return {state_.device, state_.dtype.value_or(at::kFloat)}; }
  at::Tensor operator()(const at::Tensor& x, const at::Tensor& timesteps, const at::Tensor& class_labels,
                        const std::atomic<bool>&) const override {
    std::vector<c10::IValue> inputs{x.to(target().dtype), timesteps};
    if (class_labels.defined()) inputs.emplace_back(class_labels);
    return sample_of(archive_->forward(state_, std::move(inputs)));
  }
  at::Tensor on_device(const at::Tensor& x, const at::Tensor& timesteps, const at::Tensor& class_labels) const override {
    return (*this)(x.contiguous(), timesteps, class_labels, never_);
  }
  /// Of the archive's output nothing is known before it has run: a learned variance goes the way that looks at each.
  bool takes_on_device(const SampleRequest& request) const override {
    return request.plan->scheduler->learned_variance() == LearnedVariance::none;
  }
  at::Tensor trial_labels(int64_t batch) const override {
    const auto& arguments = archive_->schema().arguments();
    const bool needed = arguments.size() > 3 && !arguments[3].default_value();
    return needed ? at::zeros({batch}, at::kLong) : at::Tensor();
  }

 private:
  std::shared_ptr<const TorchScriptArchive> archive_;
  TorchScriptArchive::State state_;
  const std::atomic<bool> never_ = false;
};

}  // namespace

std::unique_ptr<const Denoiser> make_denoiser(std::shared_ptr<const UNet2DModel> model) {
  return std::make_unique<UNetDenoiser>(std::move(model));
}

std::unique_ptr<const Denoiser> make_denoiser(const std::shared_ptr<const TorchScriptArchive>& archive) {
  return std::make_unique<TorchScriptDenoiser>(archive);
}

}  // namespace nd
