#include "core/unet/unet2d_config.h"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <cmath>

#include "core/errors.h"
#include "core/json.h"
#include "core/unet/unet2d_config_check.h"

namespace nd {
namespace {

using nlohmann::json;

/// As in ts/config/unet-config.ts: counts in a UNet stay far below.
constexpr int64_t kMaxCount = 65536;
constexpr size_t kMaxBlocks = 16;
constexpr int64_t kMaxLayers = 64;

template <typename E>
using Names = std::vector<std::pair<const char*, E>>;

const Names<DownBlockType> kDownBlocks{{"DownBlock2D", DownBlockType::plain},
                                       {"AttnDownBlock2D", DownBlockType::attention},
                                       {"ResnetDownsampleBlock2D", DownBlockType::resnet_downsample},
                                       {"SkipDownBlock2D", DownBlockType::skip},
                                       {"AttnSkipDownBlock2D", DownBlockType::attention_skip}};
const Names<UpBlockType> kUpBlocks{{"UpBlock2D", UpBlockType::plain},
                                   {"AttnUpBlock2D", UpBlockType::attention},
                                   {"ResnetUpsampleBlock2D", UpBlockType::resnet_upsample},
                                   {"SkipUpBlock2D", UpBlockType::skip},
                                   {"AttnSkipUpBlock2D", UpBlockType::attention_skip}};
const Names<ResampleType> kResampling{{"conv", ResampleType::conv}, {"resnet", ResampleType::resnet}};
const Names<Activation> kActivations{{"silu", Activation::silu},
                                     {"swish", Activation::silu},
                                     {"mish", Activation::mish},
                                     {"gelu", Activation::gelu},
                                     {"relu", Activation::relu}};
const Names<TimeEmbeddingType> kTimeEmbeddings{{"positional", TimeEmbeddingType::positional},
                                               {"fourier", TimeEmbeddingType::fourier},
                                               {"learned", TimeEmbeddingType::learned}};
const Names<TimeScaleShift> kTimeScaleShifts{{"default", TimeScaleShift::shift},
                                             {"scale_shift", TimeScaleShift::scale_shift}};
const Names<ClassEmbedding> kClassEmbeddings{{"timestep", ClassEmbedding::timestep},
                                             {"identity", ClassEmbedding::identity}};

[[noreturn]] void refuse(const std::string& key, const std::string& wanted, const json& got) {
  fail(ErrorCode::config, key, " must be ", wanted, ", got ", show_json(got));
}

std::string range(int64_t low, int64_t high) {
  return "an integer in " + std::to_string(low) + " … " + std::to_string(high);
}

int64_t parse_count(const std::string& key, const json& value, const std::string& wanted, int64_t low = 1,
                    int64_t high = kMaxCount) {
  const bool fits = value.is_number_unsigned() && value.get<uint64_t>() <= static_cast<uint64_t>(high);
  if (!fits || value.get<int64_t>() < low) refuse(key, wanted, value);
  return value.get<int64_t>();
}

double parse_number(const std::string& key, const json& value, const char* wanted = "a finite number") {
  if (!value.is_number() || !std::isfinite(value.get<double>())) refuse(key, wanted, value);
  return value.get<double>();
}

bool parse_flag(const std::string& key, const json& value) {
  if (!value.is_boolean()) refuse(key, "true or false", value);
  return value.get<bool>();
}

template <typename E>
E parse_name(const std::string& key, const json& value, const Names<E>& names, const char* also = "") {
  std::string wanted = std::string("one of ") + also;
  for (const auto& [name, meaning] : names) {
    if (value == name) return meaning;
    wanted += std::string(name == names.front().first ? "'" : ", '") + name + "'";
  }
  refuse(key, wanted, value);
}

template <typename E>
std::vector<E> parse_blocks(const std::string& key, const json& value, const Names<E>& names) {
  if (!value.is_array() || value.empty() || value.size() > kMaxBlocks) {
    refuse(key, "an array of 1 … " + std::to_string(kMaxBlocks) + " names", value);
  }
  std::vector<E> blocks;
  for (size_t i = 0; i < value.size(); ++i) {
    auto name = value[i];
    // The prefix of the oldest checkpoints' blocks, which diffusers drops too.
    constexpr size_t kOldPrefix = std::string_view("UNetRes").size();
    if (name.is_string() && name.get_ref<const std::string&>().starts_with("UNetRes")) {
      name = name.get_ref<const std::string&>().substr(kOldPrefix);
    }
    blocks.push_back(parse_name(key + "[" + std::to_string(i) + "]", name, names));
  }
  return blocks;
}

std::vector<int64_t> parse_channels(const std::string& key, const json& value) {
  auto wanted = std::string("an array of 1 … ").append(std::to_string(kMaxBlocks)).append(" entries, each ");
  wanted += range(1, kMaxCount);
  if (!value.is_array() || value.empty() || value.size() > kMaxBlocks) refuse(key, wanted, value);
  std::vector<int64_t> channels;
  for (const auto& entry : value) channels.push_back(parse_count(key, entry, wanted));
  return channels;
}

std::pair<int64_t, int64_t> parse_sample_size(const std::string& key, const json& value) {
  const auto wanted = "null, " + range(1, kMaxCount) + ", or [height, width] of such";
  if (!value.is_array()) {
    const auto size = parse_count(key, value, wanted);
    return {size, size};
  }
  if (value.size() != 2) refuse(key, wanted, value);
  return {parse_count(key, value[0], wanted), parse_count(key, value[1], wanted)};
}

/// The values of a config by key, each read if it is there.
class Reader {
 public:
  explicit Reader(const json& config) : config_(config) {}

  /// Keeps the default where the key is missing.
  template <typename T, typename Parse>
  void read(const char* key, T& field, Parse parse) const {
    const auto found = config_.find(key);
    if (found != config_.end()) field = parse(std::string(key), *found);
  }
  /// The same, with null for none.
  template <typename T, typename Parse>
  void read(const char* key, std::optional<T>& field, Parse parse) const {
    const auto found = config_.find(key);
    if (found == config_.end()) return;
    field = found->is_null() ? std::nullopt : std::optional<T>(parse(std::string(key), *found));
  }

 private:
  const json& config_;
};

template <typename E>
auto one_of(const Names<E>& names) {
  return [&names](const std::string& key, const json& value) { return parse_name(key, value, names); };
}

int64_t count(const std::string& key, const json& value) { return parse_count(key, value, range(1, kMaxCount)); }

int64_t count_or_null(const std::string& key, const json& value) {
  return parse_count(key, value, "null or " + range(1, kMaxCount));
}

double number(const std::string& key, const json& value) { return parse_number(key, value); }

/// diffusers takes null and "" for conv.
ResampleType resampling(const std::string& key, const json& value) {
  return value.is_null() || value == "" ? ResampleType::conv : parse_name(key, value, kResampling);
}

Activation activation(const std::string& key, const json& value) {
  if (!value.is_string()) return parse_name(key, value, kActivations);
  auto name = value.get<std::string>();
  std::transform(name.begin(), name.end(), name.begin(), [](unsigned char c) { return c < 128 ? std::tolower(c) : c; });
  return parse_name(key, json(std::move(name)), kActivations);
}

bool mid_block(const std::string& key, const json& value) {
  if (!value.is_null() && value != "UNetMidBlock2D") refuse(key, "'UNetMidBlock2D' or null", value);
  return !value.is_null();
}

void read_shape(const Reader& in, UNet2DConfig& config) {
  in.read("sample_size", config.sample_size, parse_sample_size);
  in.read("in_channels", config.in_channels, count);
  in.read("out_channels", config.out_channels, count);
  in.read("center_input_sample", config.center_input_sample, parse_flag);
  in.read("down_block_types", config.down_block_types,
          [](const auto& key, const json& value) { return parse_blocks(key, value, kDownBlocks); });
  in.read("mid_block_type", config.mid_block, mid_block);
  in.read("up_block_types", config.up_block_types,
          [](const auto& key, const json& value) { return parse_blocks(key, value, kUpBlocks); });
  in.read("block_out_channels", config.block_out_channels, parse_channels);
  in.read("layers_per_block", config.layers_per_block, [](const auto& key, const json& value) {
    return parse_count(key, value, range(1, kMaxLayers), 1, kMaxLayers);
  });
}

void read_layers(const Reader& in, UNet2DConfig& config) {
  in.read("mid_block_scale_factor", config.mid_block_scale_factor, [](const auto& key, const json& value) {
    const auto factor = parse_number(key, value, "a finite number other than 0");
    if (factor == 0) refuse(key, "a finite number other than 0", value);
    return factor;
  });
  in.read("downsample_padding", config.downsample_padding, [](const auto& key, const json& value) {
    return parse_count(key, value, range(0, kMaxCount), 0);
  });
  in.read("downsample_type", config.downsample_type, resampling);
  in.read("upsample_type", config.upsample_type, resampling);
  double dropout = 0;  // of training alone
  in.read("dropout", dropout, number);
  if (dropout < 0 || dropout > 1) refuse("dropout", "a number in 0 … 1", json(dropout));
  in.read("act_fn", config.act_fn, activation);
  in.read("attention_head_dim", config.attention_head_dim, count_or_null);
  in.read("norm_num_groups", config.norm_num_groups, count_or_null);
  in.read("attn_norm_num_groups", config.attn_norm_num_groups, count_or_null);
  in.read("norm_eps", config.norm_eps, [](const auto& key, const json& value) {
    const auto eps = parse_number(key, value, "a finite number above 0");
    if (eps <= 0) refuse(key, "a finite number above 0", value);
    return eps;
  });
  in.read("resnet_time_scale_shift", config.resnet_time_scale_shift, one_of(kTimeScaleShifts));
  in.read("add_attention", config.add_attention, parse_flag);
}

void read_conditions(const Reader& in, UNet2DConfig& config) {
  in.read("time_embedding_type", config.time_embedding_type, one_of(kTimeEmbeddings));
  in.read("time_embedding_dim", config.time_embedding_dim, count_or_null);
  in.read("freq_shift", config.freq_shift, number);
  in.read("flip_sin_to_cos", config.flip_sin_to_cos, parse_flag);
  std::optional<ClassEmbedding> class_embed_type;
  in.read("class_embed_type", class_embed_type,
          [](const auto& key, const json& value) { return parse_name(key, value, kClassEmbeddings, "null, "); });
  in.read("num_class_embeds", config.num_class_embeds, count_or_null);
  in.read("num_train_timesteps", config.num_train_timesteps, count_or_null);
  // diffusers reads num_class_embeds for a table only, which is what no class_embed_type means.
  const auto unnamed = config.num_class_embeds ? ClassEmbedding::table : ClassEmbedding::none;
  config.class_embedding = class_embed_type.value_or(unnamed);
}

}  // namespace

UNet2DConfig parse_unet2d_config(std::string_view text) {
  const auto parsed = parse_json(text, {.bytes = 1 << 20}, "the config of UNet2DModel", ErrorCode::config);
  if (!parsed.is_object()) refuse("the config of UNet2DModel", "a JSON object", parsed);
  const Reader in(parsed);
  UNet2DConfig config;
  read_shape(in, config);
  read_layers(in, config);
  read_conditions(in, config);
  check_unet2d_config(config);
  return config;
}

}  // namespace nd
