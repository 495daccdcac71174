#include "core/unet/unet2d_model.h"

#include <ATen/ATen.h>
#include <ATen/core/LegacyTypeDispatch.h>
#include <ATen/core/grad_mode.h>

#include "core/buffer_pool.h"
#include "core/checkpoint/memory_state_dict.h"
#include "core/errors.h"
#include "core/one_thread.h"
#include "core/unet/down_block.h"
#include "core/unet/forward_graphs.h"
#include "core/unet/mid_block.h"
#include "core/unet/unet_inputs.h"
#include "core/unet/up_block.h"

namespace nd {
namespace {

/// The image size that weights are laid out for where the config names none.
constexpr int64_t default_sample_size = 32;

ImageSize input_size(const UNet2DConfig& config) {
  const auto [height, width] = config.sample_size.value_or(std::pair{default_sample_size, default_sample_size});
  return {height, width};
}

at::Tensor to_input(const at::Tensor& sample, const ModelTarget& target) {
  return sample.to(target.dtype).contiguous(at::MemoryFormat::ChannelsLast);
}

void check_cancelled(const std::atomic<bool>* cancelled) {
  if (cancelled && cancelled->load(std::memory_order_relaxed)) fail(ErrorCode::aborted, "the forward was cancelled");
}

}  // namespace

struct UNet2DModel::Parts {
  Parts(const UNet2DConfig& config, Parameters& parameters);

  UNet2DConfig config;
  ModelTarget target;
  ConvolutionPtr conv_in;
  TimeEmbedding time;
  std::vector<DownBlock> down_blocks;
  std::optional<MidBlock> mid_block;
  std::vector<UpBlock> up_blocks;
  GroupNorm conv_norm_out;
  ConvolutionPtr conv_out;
  std::vector<Parameters::Kept> kept;
  mutable BufferPools pools;
  std::unique_ptr<ForwardGraphs> graphs;  // where CUDA's kernels serve
};

UNet2DModel::Parts::Parts(const UNet2DConfig& config, Parameters& parameters)
    : config(config),
      target(parameters.target()),
      conv_in(Convolution::take(Scope(parameters) / "conv_in", {config.in_channels, config.block_out_channels.front(), 3, 1, 1},
                                input_size(config))),
      time(Scope(parameters), config),
      // Taken here, before the blocks, only because members are built in this order: it draws no random numbers.
      conv_norm_out(Scope(parameters) / "conv_norm_out", config.block_out_channels.front(),
                    norm_groups(config, config.block_out_channels.front()), config.norm_eps, Activation::silu) {
  const Scope scope(parameters);
  const auto& channels = config.block_out_channels;
  const auto last = channels.size() - 1;
  auto size = input_size(config);
  auto in = channels.front();
  for (size_t i = 0; i < channels.size(); ++i) {
    const auto index = static_cast<int64_t>(i);
    down_blocks.emplace_back(scope / "down_blocks" / index,
                             DownBlock::Shape{config.down_block_types[i], in, channels[i], i != last}, config,
                             time.projections(), size);
    in = channels[i];
    if (i != last) size = size.halved();
  }
  if (config.mid_block) mid_block.emplace(scope / "mid_block", config, time.projections(), size);
  for (size_t i = 0; i < channels.size(); ++i) {
    const auto index = static_cast<int64_t>(i);
    const auto out = channels[last - i];
    up_blocks.emplace_back(
        scope / "up_blocks" / index,
        UpBlock::Shape{config.up_block_types[i], channels[i == last ? 0 : last - i - 1], in, out, i != last}, config,
        time.projections(), size);
    in = out;
    if (i != last) size = size.doubled();
  }
  conv_out = Convolution::take(scope / "conv_out", {channels.front(), config.out_channels, 3, 1, 1}, input_size(config));
  time.projections().finish();
  parameters.finish();
  kept = parameters.take_kept();
}

UNet2DModel::UNet2DModel(std::unique_ptr<Parts> parts) : parts_(std::move(parts)) {
  if (!cuda::serves(target().device, target().dtype)) return;
  // Laid out on this thread's stream; forwards may come on others.
  cuda::synchronize(target().device);
  parts_->graphs = std::make_unique<ForwardGraphs>([this](const ForwardInputs& in) {
    return predict(in.x, in.timesteps, condition(in.timesteps, in.class_labels)).contiguous();
  });
}
UNet2DModel::~UNet2DModel() = default;

std::shared_ptr<const UNet2DModel> UNet2DModel::load(const UNet2DConfig& config,
                                                     std::shared_ptr<const StateDict> checkpoint, ModelTarget target) {
  const at::NoGradGuard no_grad;
  // Some hundred short copies, bound by memory: where the cores have other work too, threads wait for one another longer.
  const OneThread one_thread;
  const auto parameters = checkpoint_parameters(std::move(checkpoint), target);
  return std::shared_ptr<const UNet2DModel>(new UNet2DModel(std::make_unique<Parts>(config, *parameters)));
}

std::shared_ptr<const UNet2DModel> UNet2DModel::random(const UNet2DConfig& config, const at::Generator& generator,
                                                       ModelTarget target) {
  const at::NoGradGuard no_grad;
  const auto parameters = random_parameters(generator, target);
  return std::shared_ptr<const UNet2DModel>(new UNet2DModel(std::make_unique<Parts>(config, *parameters)));
}

std::shared_ptr<const UNet2DModel> UNet2DModel::to(ModelTarget target) const {
  return load(config(), memory_state_dict(state_dict()), target);
}

const UNet2DConfig& UNet2DModel::config() const { return parts_->config; }
const ModelTarget& UNet2DModel::target() const { return parts_->target; }

int64_t UNet2DModel::parameter_count() const {
  int64_t count = 0;
  for (const auto& parameter : parts_->kept) count += parameter.numel;
  return count;
}

NamedTensors UNet2DModel::state_dict() const {
  const at::NoGradGuard no_grad;
  NamedTensors tensors;
  for (const auto& parameter : parts_->kept) tensors.emplace_back(parameter.name, parameter.get().cpu().contiguous());
  return tensors;
}

at::Tensor UNet2DModel::forward(const at::Tensor& sample, const at::Tensor& timesteps, const at::Tensor& class_labels,
                                const std::atomic<bool>* cancelled) const {
  const auto& model = *parts_;
  if (!model.graphs) return forward_by_launches(sample, timesteps, class_labels, cancelled);
  check_unet_inputs(model.config, model.target, sample, timesteps, class_labels);
  check_cancelled(cancelled);
  const at::NoGradGuard no_grad;
  const at::AutoDispatchBelowADInplaceOrView below_autograd;
  return (*model.graphs)({to_input(sample, model.target), timesteps, class_labels});
}

at::Tensor UNet2DModel::forward_by_launches(const at::Tensor& sample, const at::Tensor& timesteps,
                                            const at::Tensor& class_labels, const std::atomic<bool>* cancelled) const {
  const auto& model = *parts_;
  check_unet_inputs(model.config, model.target, sample, timesteps, class_labels);
  const at::NoGradGuard no_grad;
  const at::AutoDispatchBelowADInplaceOrView below_autograd;
  const BufferPools::Use buffers(model.pools);
  const auto x = to_input(sample, model.target);
  return predict(x, timesteps, condition(timesteps, class_labels), cancelled).contiguous();
}

int64_t UNet2DModel::graphs() const { return parts_->graphs ? parts_->graphs->graphs() : 0; }
std::string UNet2DModel::capture_failure() const { return parts_->graphs ? parts_->graphs->capture_failure() : ""; }

Condition UNet2DModel::condition(const at::Tensor& timesteps, const at::Tensor& class_labels) const {
  return parts_->time(timesteps, class_labels);
}

at::Tensor UNet2DModel::time_table(int64_t count) const {
  const auto& config = parts_->config;
  if (!cuda::serves(target().device, target().dtype) || config.class_embedding != ClassEmbedding::none ||
      config.time_embedding_type == TimeEmbeddingType::fourier) {
    return {};
  }
  const bool learned = config.time_embedding_type == TimeEmbeddingType::learned;
  return parts_->time.table(learned ? *config.num_train_timesteps : count);
}

Condition UNet2DModel::look_up(const at::Tensor& table, const at::Tensor& timesteps) const {
  return parts_->time.look_up(table, timesteps);
}

at::Tensor UNet2DModel::predict(at::Tensor x, const at::Tensor& timesteps, const Condition& condition,
                                const std::atomic<bool>* cancelled) const {
  const auto& model = *parts_;
  // 1. input
  if (model.config.center_input_sample) x = 2 * x - 1.0;
  // 2. in
  Flow flow{(*model.conv_in)(x), {}, x};
  flow.residuals.push_back(flow.hidden);
  // 3. down
  for (const auto& block : model.down_blocks) {
    check_cancelled(cancelled);
    block(flow, condition);
  }
  // 4. middle
  flow.skip_image.reset();
  if (model.mid_block) flow.hidden = (*model.mid_block)(flow.hidden, condition);
  // 5. up
  for (const auto& block : model.up_blocks) {
    check_cancelled(cancelled);
    block(flow, condition);
  }
  check_cancelled(cancelled);
  // 6. out
  auto y = (*model.conv_out)(model.conv_norm_out.in_place(flow.hidden), {.residual = flow.skip_image});
  // A network of Song et al. 2021 gives σ·score; its timesteps are its σ.
  if (model.config.time_embedding_type == TimeEmbeddingType::fourier) y = y / timesteps.view({-1, 1, 1, 1});
  return y.to(model.target.dtype);
}

}  // namespace nd
