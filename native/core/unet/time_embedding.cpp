#include "core/unet/time_embedding.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <numbers>

#include "core/unet/convolution.h"
#include "core/unet/normalization.h"

namespace nd {
namespace {

constexpr int64_t rows_at_once = 8;
/// A DDPM run has 1000 timesteps.
constexpr size_t most_cached_rows = 1024;

/// The sinusoids of Vaswani et al. 2017 (arXiv:1706.03762, section 3.5) as DDPM has them, in fp32:
/// ω_i = 10000^(−i/(half − freq_shift)), [sin(tω), cos(tω)].
at::Tensor positional_encoding(const at::Tensor& timesteps, int64_t width, const UNet2DConfig& config) {
  const auto half = width / 2;
  const auto options = at::TensorOptions().dtype(at::kFloat).device(timesteps.device());
  const auto exponent =
      (-std::log(10000.0) * at::arange(0, half, options)) / (static_cast<double>(half) - config.freq_shift);
  const auto angle = timesteps.to(at::kFloat).unsqueeze(1) * at::exp(exponent).unsqueeze(0);
  auto encoding = config.flip_sin_to_cos ? at::cat({at::cos(angle), at::sin(angle)}, -1)
                                         : at::cat({at::sin(angle), at::cos(angle)}, -1);
  return width % 2 ? at::constant_pad_nd(encoding, {0, 1}) : encoding;
}

/// Song et al. 2021 (arXiv:2011.13456), appendix C.2: [sin(2π·W·log t), cos(2π·W·log t)].
at::Tensor fourier_encoding(const at::Tensor& timesteps, const at::Tensor& frequencies) {
  const auto angle = at::log(timesteps).unsqueeze(1) * frequencies.unsqueeze(0) * 2 * std::numbers::pi;
  return at::cat({at::sin(angle), at::cos(angle)}, -1);
}

at::Tensor take_table(const Scope& scope, at::IntArrayRef shape, double scale,
                      std::optional<at::ScalarType> dtype = std::nullopt) {
  const auto values = scope.take("weight", shape, {Init::Kind::normal, scale}, dtype);
  if (!values.defined()) return {};
  auto table = values.clone();
  scope.keep("weight", shape, [table] { return table; });
  return table;
}

}  // namespace

Linear::Linear(const Scope& scope, int64_t in, int64_t out) {
  const std::array<int64_t, 2> shape{out, in};
  const auto weight = scope.take("weight", shape, fan_in_weight_init(in));
  const auto bias = scope.take("bias", out, fan_in_bias_init(in));
  if (!weight.defined() || !bias.defined()) return;
  weight_ = weight.clone();
  bias_ = bias.clone();
  scope.keep("weight", shape, [weight = weight_] { return weight; });
  scope.keep("bias", out, [bias = bias_] { return bias; });
}

at::Tensor Linear::operator()(const at::Tensor& x) const { return at::linear(x, weight_, bias_); }

TimeProjections::Slot TimeProjections::add(const Scope& scope, int64_t in, int64_t width) {
  const Slot slot{width_, width};
  const std::array<int64_t, 2> shape{width, in};
  weights_.push_back(scope.take("weight", shape, fan_in_weight_init(in)));
  biases_.push_back(scope.take("bias", width, fan_in_bias_init(in)));
  scope.keep("weight", shape, [all = matrix_, slot] { return all->weight.narrow(0, slot.offset, slot.width); });
  scope.keep("bias", width, [all = matrix_, slot] { return all->bias.narrow(0, slot.offset, slot.width); });
  width_ += width;
  return slot;
}

void TimeProjections::fold(Slot slot, const at::Tensor& bias) { biases_to_fold_.emplace_back(slot, bias); }

void TimeProjections::finish() {
  const auto whole = [](const std::vector<at::Tensor>& rows) {
    for (const auto& row : rows) {
      if (!row.defined()) return at::Tensor();
    }
    return at::cat(rows);
  };
  *matrix_ = {whole(weights_), whole(biases_)};
  weights_.clear();
  biases_.clear();
  if (matrix_->bias.defined() && cuda::serves(matrix_->bias.device(), matrix_->bias.scalar_type())) {
    folds_ = at::zeros_like(matrix_->bias, at::kFloat);
    for (const auto& [slot, bias] : biases_to_fold_) {
      if (bias.defined()) folds_.narrow(0, slot.offset, slot.width).copy_(bias);
    }
  }
  biases_to_fold_.clear();
}

at::Tensor TimeProjections::operator()(const at::Tensor& x) const { return at::linear(x, matrix_->weight, matrix_->bias); }

TimeEmbedding::TimeEmbedding(const Scope& scope, const UNet2DConfig& config) : config_(config), target_(scope.target()) {
  const auto channels = config.block_out_channels.front();
  const auto width = config.time_embed_dim();
  auto encoded = channels;
  if (config.time_embedding_type == TimeEmbeddingType::fourier) {
    const double scale = 16;  // diffusers' constant
    // diffusers' constructor draws the frequencies twice and keeps the second: so do we, for a seed to give its weights.
    (scope / "time_proj").take("weight", channels, {Init::Kind::normal, scale});
    // In fp32 whatever the model's dtype: rounded to bfloat16, 2π·16·log t would be whole turns off.
    table_ = take_table(scope / "time_proj", channels, scale, at::kFloat);
    encoded = 2 * channels;
  } else if (config.time_embedding_type == TimeEmbeddingType::learned) {
    table_ = take_table(scope / "time_proj", {*config.num_train_timesteps, channels}, 1);
  }
  linear_1_ = Linear(scope / "time_embedding" / "linear_1", encoded, width);
  linear_2_ = Linear(scope / "time_embedding" / "linear_2", width, width);
  const auto classes = scope / "class_embedding";
  if (config.class_embedding == ClassEmbedding::table) {
    class_table_ = take_table(classes, {*config.num_class_embeds, width}, 1);
  } else if (config.class_embedding == ClassEmbedding::timestep) {
    class_linear_1_ = Linear(classes / "linear_1", encoded, width);
    class_linear_2_ = Linear(classes / "linear_2", width, width);
  }
}

at::Tensor TimeEmbedding::encode(const at::Tensor& timesteps) const {
  switch (config_.time_embedding_type) {
    case TimeEmbeddingType::positional:
      return positional_encoding(timesteps, config_.block_out_channels.front(), config_).to(target_.dtype);
    case TimeEmbeddingType::fourier: return fourier_encoding(timesteps, table_).to(target_.dtype);
    case TimeEmbeddingType::learned: return at::embedding(table_, timesteps);
  }
  return {};
}

at::Tensor TimeEmbedding::embed_classes(const at::Tensor& class_labels) const {
  switch (config_.class_embedding) {
    case ClassEmbedding::none: return {};
    case ClassEmbedding::table: return at::embedding(class_table_, class_labels);
    case ClassEmbedding::timestep: return class_linear_2_(at::silu(class_linear_1_(encode(class_labels))));
    case ClassEmbedding::identity: return class_labels.to(target_.dtype);
  }
  return {};
}

at::Tensor TimeEmbedding::rows(const at::Tensor& timesteps, const at::Tensor& class_labels) const {
  auto embedding = linear_2_(at::silu(linear_1_(encode(timesteps))));
  if (class_labels.defined()) embedding = embedding + embed_classes(class_labels);
  return projections_(activate_(embedding, config_.act_fn));
}

/// Always as many rows at once, so that a row does not depend on the others in its batch; the rest are repeats.
at::Tensor TimeEmbedding::rows_in_any_batch(const at::Tensor& timesteps, const at::Tensor& class_labels) const {
  const auto count = timesteps.size(0);
  std::vector<at::Tensor> groups;
  for (int64_t first = 0; first < count; first += rows_at_once) {
    const auto chosen = at::arange(first, first + rows_at_once, at::kLong).clamp_max(count - 1);
    const auto of = [&](const at::Tensor& all) { return all.defined() ? all.index_select(0, chosen) : all; };
    groups.push_back(rows(of(timesteps), of(class_labels)).narrow(0, 0, std::min(rows_at_once, count - first)));
  }
  return groups.size() == 1 ? groups.front() : at::cat(groups);
}

at::Tensor TimeEmbedding::cached_rows(const at::Tensor& timesteps) const {
  // A float's bits lie in the upper half, where no timestep that is an integer comes.
  const bool integral = timesteps.scalar_type() == at::kLong;
  std::vector<int64_t> keys(timesteps.size(0));
  for (size_t i = 0; i < keys.size(); ++i) {
    keys[i] = integral ? timesteps.const_data_ptr<int64_t>()[i]
                       : static_cast<int64_t>(std::bit_cast<uint32_t>(timesteps.const_data_ptr<float>()[i]) | 1ull << 63);
  }
  std::unordered_map<int64_t, at::Tensor> found;
  std::vector<int64_t> unknown;
  for (size_t i = 0; i < keys.size(); ++i) {
    const auto [entry, is_new] = found.try_emplace(keys[i]);
    if (!is_new) continue;
    entry->second = cache_->find(keys[i]);
    if (!entry->second.defined()) unknown.push_back(static_cast<int64_t>(i));
  }
  if (!unknown.empty()) {
    const auto made = rows_in_any_batch(timesteps.index_select(0, at::tensor(unknown)), {});
    for (size_t i = 0; i < unknown.size(); ++i) {
      auto& row = found[keys[unknown[i]]];
      row = made.narrow(0, static_cast<int64_t>(i), 1).clone();
      cache_->add(keys[unknown[i]], row);
    }
  }
  if (found.size() == 1) return found.begin()->second.expand({timesteps.size(0), -1});
  std::vector<at::Tensor> in_order;
  for (const auto key : keys) in_order.push_back(found[key]);
  return at::cat(in_order);
}

Condition TimeEmbedding::operator()(const at::Tensor& timesteps, const at::Tensor& class_labels) const {
  if (cuda::serves(target_.device, target_.dtype)) {
    return Condition(projections_.folded(rows(timesteps, class_labels)), true);
  }
  // On another device, looking at the timesteps would wait for it.
  if (!timesteps.device().is_cpu()) return Condition(rows(timesteps, class_labels));
  return Condition(class_labels.defined() ? rows_in_any_batch(timesteps, class_labels) : cached_rows(timesteps.contiguous()));
}

at::Tensor TimeEmbedding::table(int64_t count) const {
  const auto timesteps = at::arange(count, at::dtype(at::kLong).device(target_.device));
  return projections_.folded(rows(timesteps, {}));
}

at::Tensor TimeRowCache::find(int64_t key) const {
  const std::lock_guard lock(mutex_);
  const auto found = rows_.find(key);
  return found == rows_.end() ? at::Tensor() : found->second;
}

void TimeRowCache::add(int64_t key, at::Tensor row) {
  const std::lock_guard lock(mutex_);
  if (rows_.size() >= most_cached_rows) rows_.clear();
  rows_.insert_or_assign(key, std::move(row));
}

}  // namespace nd
