#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace nd {

enum class TimeEmbeddingType { positional, fourier, learned };
enum class DownBlockType { plain, attention, resnet_downsample, skip, attention_skip };
enum class UpBlockType { plain, attention, resnet_upsample, skip, attention_skip };
enum class ResampleType { conv, resnet };
enum class Activation { silu, mish, gelu, relu };
enum class TimeScaleShift { shift, scale_shift };  // diffusers' "default" is the shift
enum class ClassEmbedding { none, table, timestep, identity };

/// The config of diffusers' UNet2DModel, key for key; defaults are its defaults.
struct UNet2DConfig {
  std::optional<std::pair<int64_t, int64_t>> sample_size;  // height, width
  int64_t in_channels = 3;
  int64_t out_channels = 3;
  bool center_input_sample = false;
  TimeEmbeddingType time_embedding_type = TimeEmbeddingType::positional;
  std::optional<int64_t> time_embedding_dim;
  double freq_shift = 0;
  bool flip_sin_to_cos = true;
  std::vector<DownBlockType> down_block_types{DownBlockType::plain, DownBlockType::attention, DownBlockType::attention,
                                              DownBlockType::attention};
  bool mid_block = true;
  std::vector<UpBlockType> up_block_types{UpBlockType::attention, UpBlockType::attention, UpBlockType::attention,
                                          UpBlockType::plain};
  std::vector<int64_t> block_out_channels{224, 448, 672, 896};
  int64_t layers_per_block = 2;
  double mid_block_scale_factor = 1;
  int64_t downsample_padding = 1;
  ResampleType downsample_type = ResampleType::conv;
  ResampleType upsample_type = ResampleType::conv;
  Activation act_fn = Activation::silu;
  std::optional<int64_t> attention_head_dim = 8;
  std::optional<int64_t> norm_num_groups = 32;
  std::optional<int64_t> attn_norm_num_groups;
  double norm_eps = 1e-5;
  TimeScaleShift resnet_time_scale_shift = TimeScaleShift::shift;
  bool add_attention = true;
  ClassEmbedding class_embedding = ClassEmbedding::none;
  std::optional<int64_t> num_class_embeds;
  std::optional<int64_t> num_train_timesteps;

  int64_t time_embed_dim() const { return time_embedding_dim.value_or(block_out_channels.front() * 4); }
  /// Height and width of a sample must be multiples of it: every block but the last halves them.
  int64_t size_unit() const { return int64_t{1} << (block_out_channels.size() - 1); }
};

/// Reads the text of a `config.json`; keys that UNet2DModel does not have are ignored, as diffusers does. Throws
/// ERR_CONFIG naming the key, what it got and what it wants, for a value that is malformed or that no UNet2DModel can
/// honour.
UNet2DConfig parse_unet2d_config(std::string_view json);

}  // namespace nd
