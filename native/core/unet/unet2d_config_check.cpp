#include "core/unet/unet2d_config_check.h"

#include <algorithm>
#include <string>

#include "core/errors.h"

namespace nd {
namespace {

/// More entries than any checkpoint holds, few enough that no count of bytes overflows.
constexpr double kMaxParameters = 68719476736;  // 2³⁶

bool is_skip(DownBlockType type) { return type == DownBlockType::skip || type == DownBlockType::attention_skip; }
bool is_skip(UpBlockType type) { return type == UpBlockType::skip || type == UpBlockType::attention_skip; }
bool has_attention(DownBlockType t) { return t == DownBlockType::attention || t == DownBlockType::attention_skip; }
bool has_attention(UpBlockType t) { return t == UpBlockType::attention || t == UpBlockType::attention_skip; }

/// Walks through the layers that diffusers would build (unet_2d.py and unet_2d_blocks.py), checks the norms and heads
/// of each and counts parameters.
class Layers {
 public:
  explicit Layers(const UNet2DConfig& config) : config_(config) {}

  double parameters() const { return parameters_; }

  void norm(const std::string& where, int64_t channels, int64_t groups, const char* key = "norm_num_groups") const {
    if (groups > 0 && channels % groups == 0) return;
    const bool stated = key != nullptr;
    fail(ErrorCode::config, stated ? key : "block_out_channels", stated ? " must divide" : " must suit", " the ",
         channels, " channels that ", where, " normalizes, ",
         stated ? "got " : "which diffusers does in groups of number ", groups);
  }

  void resnet(const std::string& where, int64_t in, int64_t out, int64_t groups_in, int64_t groups_out,
              const char* key) {
    norm(where, in, groups_in, key);
    norm(where, out, groups_out, key);
    const double a = static_cast<double>(in), b = static_cast<double>(out);
    parameters_ += 9 * a * b + 9 * b * b + a * b + 2 * b * static_cast<double>(config_.time_embed_dim());
  }

  /// `groups` 0: none.
  void attention(const std::string& where, int64_t channels, int64_t groups, const char* key) {
    if (groups != 0) norm(where, channels, groups, key);
    const auto head = config_.attention_head_dim.value_or(channels);
    if (head > channels) {
      fail(ErrorCode::config, "attention_head_dim must be at most the ", channels, " channels of ", where, ", got ",
           head);
    }
    parameters_ += 4 * static_cast<double>(channels) * static_cast<double>(channels);
  }

 private:
  const UNet2DConfig& config_;
  double parameters_ = 0;
};

int64_t quarter_groups(int64_t channels) { return std::min<int64_t>(channels / 4, 32); }

std::string place(const char* key, size_t i) { return std::string(key) + "[" + std::to_string(i) + "]"; }

void check_down(const UNet2DConfig& config, Layers& layers) {
  int64_t in = config.block_out_channels.front();
  for (size_t i = 0; i < config.down_block_types.size(); ++i) {
    const auto type = config.down_block_types[i];
    const auto where = place("down_block_types", i);
    const auto out = config.block_out_channels[i];
    const bool skip = is_skip(type);
    const char* key = skip ? nullptr : "norm_num_groups";
    const auto groups = [&](int64_t channels) { return skip ? quarter_groups(channels) : *config.norm_num_groups; };
    for (int64_t layer = 0; layer < config.layers_per_block; ++layer) {
      layers.resnet(where, in, out, groups(in), groups(out), key);
      if (has_attention(type)) layers.attention(where, out, skip ? 32 : groups(out), key);
      in = out;
    }
    if (i + 1 < config.down_block_types.size()) layers.resnet(where, out, out, groups(out), groups(out), key);
  }
}

void check_mid(const UNet2DConfig& config, Layers& layers) {
  if (!config.mid_block) return;
  const auto channels = config.block_out_channels.back();
  const auto groups = config.norm_num_groups.value_or(quarter_groups(channels));
  const char* key = config.norm_num_groups ? "norm_num_groups" : nullptr;
  layers.resnet("the mid block", channels, channels, groups, groups, key);
  layers.resnet("the mid block", channels, channels, groups, groups, key);
  if (!config.add_attention) return;
  if (config.attn_norm_num_groups) {
    layers.attention("the mid block", channels, *config.attn_norm_num_groups, "attn_norm_num_groups");
  } else {
    const bool normed = config.resnet_time_scale_shift == TimeScaleShift::shift;
    layers.attention("the mid block", channels, normed ? groups : 0, key);
  }
}

void check_up(const UNet2DConfig& config, Layers& layers) {
  const std::vector<int64_t> channels(config.block_out_channels.rbegin(), config.block_out_channels.rend());
  int64_t before = channels.front();
  for (size_t i = 0; i < channels.size(); ++i) {
    const auto type = config.up_block_types[i];
    const auto where = place("up_block_types", i);
    const auto out = channels[i], beside = channels[std::min(i + 1, channels.size() - 1)];
    const bool skip = is_skip(type);
    const char* key = skip ? nullptr : "norm_num_groups";
    for (int64_t layer = 0; layer <= config.layers_per_block; ++layer) {
      const auto hidden = layer == 0 ? before : out;
      const auto residual = layer == config.layers_per_block ? beside : out;
      auto groups_in = skip ? quarter_groups(hidden + residual) : *config.norm_num_groups;
      // So it stands in diffusers' AttnSkipUpBlock2D, without the brackets that SkipUpBlock2D has.
      if (type == UpBlockType::attention_skip) groups_in = std::min<int64_t>(hidden + residual / 4, 32);
      layers.resnet(where, hidden + residual, out, groups_in, skip ? quarter_groups(out) : groups_in, key);
      if (has_attention(type) && (!skip || layer == 0)) layers.attention(where, out, skip ? 32 : groups_in, key);
    }
    if (i + 1 < channels.size()) {
      const auto groups = skip ? quarter_groups(out) : *config.norm_num_groups;
      layers.resnet(where, out, out, groups, groups, key);
    }
    before = out;
  }
}

void check_lengths(const UNet2DConfig& config) {
  const auto blocks = config.block_out_channels.size();
  const auto check = [&](const char* key, size_t length) {
    if (length != blocks) {
      fail(ErrorCode::config, key, " must have one entry for each of the ", blocks, " block_out_channels, got ",
           length);
    }
  };
  check("down_block_types", config.down_block_types.size());
  check("up_block_types", config.up_block_types.size());
}

void check_groups_stated(const UNet2DConfig& config) {
  if (config.norm_num_groups) return;
  const auto all_skip = [](const auto& types) {
    return std::all_of(types.begin(), types.end(), [](auto type) { return is_skip(type); });
  };
  if (!all_skip(config.down_block_types) || !all_skip(config.up_block_types)) {
    fail(ErrorCode::config, "norm_num_groups must be an integer where a block is none of the Skip blocks, got null");
  }
}

/// The Skip blocks carry an image of 3 channels along, halved or doubled in step with the blocks that do so.
void check_skip_image(const UNet2DConfig& config) {
  const auto blocks = config.block_out_channels.size();
  for (size_t i = 0; i + 1 < blocks; ++i) {
    if (is_skip(config.down_block_types[i])) {
      if (config.in_channels != 3) {
        fail(ErrorCode::config, "in_channels must be 3 for the Skip block ", place("down_block_types", i), ", got ",
             config.in_channels);
      }
      for (size_t k = 0; k < i; ++k) {
        if (!is_skip(config.down_block_types[k])) {
          fail(ErrorCode::config, place("down_block_types", k), " must be a Skip block, as ",
               place("down_block_types", i), " after it is one that halves the image");
        }
      }
    }
    if (is_skip(config.up_block_types[i])) {
      if (config.out_channels != 3) {
        fail(ErrorCode::config, "out_channels must be 3 for the Skip block ", place("up_block_types", i), ", got ",
             config.out_channels);
      }
      if (!is_skip(config.up_block_types[i + 1])) {
        fail(ErrorCode::config, place("up_block_types", i + 1), " must be a Skip block, as ",
             place("up_block_types", i), " before it is one that doubles the image");
      }
    }
  }
}

void check_downsampling(const UNet2DConfig& config) {
  if (config.downsample_padding <= 1) return;
  for (size_t i = 0; i + 1 < config.down_block_types.size(); ++i) {
    const auto type = config.down_block_types[i];
    const bool conv = type == DownBlockType::plain ||
                      (type == DownBlockType::attention && config.downsample_type == ResampleType::conv);
    if (conv) {
      fail(ErrorCode::config, "downsample_padding must be 0 or 1 for ", place("down_block_types", i),
           ", whose output is to be half as large as its input, got ", config.downsample_padding);
    }
  }
}

void check_time(const UNet2DConfig& config) {
  const bool learned = config.time_embedding_type == TimeEmbeddingType::learned;
  if (learned && !config.num_train_timesteps) {
    fail(ErrorCode::config, "num_train_timesteps must be an integer for time_embedding_type 'learned', got null");
  }
  const auto half = config.block_out_channels.front() / 2;
  // The frequencies' exponents are divided by half − freq_shift.
  if (config.time_embedding_type == TimeEmbeddingType::positional && half > 0 &&
      config.freq_shift == static_cast<double>(half)) {
    fail(ErrorCode::config, "freq_shift must not be half of block_out_channels[0], got ", config.freq_shift);
  }
}

}  // namespace

void check_unet2d_config(const UNet2DConfig& config) {
  check_lengths(config);
  check_groups_stated(config);
  check_skip_image(config);
  check_downsampling(config);
  check_time(config);
  Layers layers(config);
  check_down(config, layers);
  check_mid(config, layers);
  check_up(config, layers);
  const auto first = config.block_out_channels.front();
  layers.norm("conv_norm_out", first, config.norm_num_groups.value_or(quarter_groups(first)),
              config.norm_num_groups ? "norm_num_groups" : nullptr);
  if (layers.parameters() > kMaxParameters) {
    fail(ErrorCode::config, "block_out_channels and layers_per_block must make at most 2^36 parameters, got about ",
         layers.parameters());
  }
}

}  // namespace nd
