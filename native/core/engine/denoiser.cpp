#include "core/engine/denoiser.h"

#include <ATen/ATen.h>

#include "core/errors.h"

namespace nd {
namespace {

class UNetDenoiser final : public Denoiser {
 public:
  explicit UNetDenoiser(std::shared_ptr<const UNet2DModel> model) : model_(std::move(model)) {}

  ModelTarget target() const override { return model_->target(); }
  at::Tensor operator()(const at::Tensor& x, const at::Tensor& timesteps, const at::Tensor& class_labels,
                        const std::atomic<bool>& cancelled) const override {
    return model_->forward(x, timesteps, class_labels, &cancelled);
  }
  at::Tensor trial_labels(int64_t batch) const override {
    const auto& config = model_->config();
    const auto device = target().device;
    switch (config.class_embedding) {
      case ClassEmbedding::none: return {};
      case ClassEmbedding::identity:
        return at::zeros({batch, config.time_embed_dim()}, at::dtype(target().dtype).device(device));
      default: return at::zeros({batch}, at::dtype(at::kLong).device(device));
    }
  }

 private:
  std::shared_ptr<const UNet2DModel> model_;
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
  at::Tensor trial_labels(int64_t batch) const override {
    const auto& arguments = archive_->schema().arguments();
    const bool needed = arguments.size() > 3 && !arguments[3].default_value();
    return needed ? at::zeros({batch}, at::dtype(at::kLong).device(state_.device)) : at::Tensor();
  }

 private:
  std::shared_ptr<const TorchScriptArchive> archive_;
  TorchScriptArchive::State state_;
};

}  // namespace

std::unique_ptr<const Denoiser> make_denoiser(std::shared_ptr<const UNet2DModel> model) {
  return std::make_unique<UNetDenoiser>(std::move(model));
}

std::unique_ptr<const Denoiser> make_denoiser(const std::shared_ptr<const TorchScriptArchive>& archive) {
  return std::make_unique<TorchScriptDenoiser>(archive);
}

}  // namespace nd
