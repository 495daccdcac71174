#include "core/unet/unet2d_config.h"

#include "check.h"

using nd::parse_unet2d_config;

namespace {

/// A valid small config with these keys in place of its own.
std::string with(const std::string& keys) {
  const std::pair<std::string, std::string> own[] = {{"block_out_channels", "[32,64]"},
                                                     {"down_block_types", R"(["DownBlock2D","AttnDownBlock2D"])"},
                                                     {"up_block_types", R"(["AttnUpBlock2D","UpBlock2D"])"}};
  std::string text = "{" + keys;
  for (const auto& [key, value] : own) {
    if (keys.find('"' + key + '"') == std::string::npos) text += (text == "{" ? "\"" : ",\"") + key + "\":" + value;
  }
  return text + "}";
}

auto parse(const std::string& keys) { return parse_unet2d_config(with(keys)); }

const std::string kSkip = R"("down_block_types":["SkipDownBlock2D","AttnSkipDownBlock2D"],)"
                          R"("up_block_types":["AttnSkipUpBlock2D","SkipUpBlock2D"])";

TEST("missing keys are diffusers' defaults") {
  const auto config = parse_unet2d_config("{}");
  EXPECT(config.block_out_channels == std::vector<int64_t>({224, 448, 672, 896}));
  EXPECT(!config.sample_size && config.in_channels == 3 && config.layers_per_block == 2 && config.mid_block);
  EXPECT(config.down_block_types.size() == 4 && config.up_block_types[0] == nd::UpBlockType::attention);
  EXPECT(config.act_fn == nd::Activation::silu && config.class_embedding == nd::ClassEmbedding::none);
  EXPECT_EQUAL(config.time_embed_dim(), int64_t{896});
  EXPECT_EQUAL(config.size_unit(), int64_t{8});
}

TEST("every key is read, and unknown ones are not") {
  const auto config = parse(
      R"("sample_size":[16,24],"in_channels":4,"out_channels":8,"center_input_sample":true,"time_embedding_type":"learned",
         "time_embedding_dim":100,"freq_shift":1,"flip_sin_to_cos":false,"mid_block_type":null,"layers_per_block":3,
         "mid_block_scale_factor":1.5,"downsample_padding":0,"downsample_type":"resnet","upsample_type":"resnet",
         "dropout":0.1,"act_fn":"GELU","attention_head_dim":null,"norm_num_groups":16,"attn_norm_num_groups":8,
         "norm_eps":1e-6,"resnet_time_scale_shift":"scale_shift","add_attention":false,"class_embed_type":"identity",
         "num_class_embeds":7,"num_train_timesteps":1000,"_class_name":"UNet2DModel","whatever":{"a":[1]})");
  EXPECT(config.sample_size == std::pair(int64_t{16}, int64_t{24}));
  EXPECT(config.in_channels == 4 && config.out_channels == 8 && config.center_input_sample);
  EXPECT(config.time_embedding_type == nd::TimeEmbeddingType::learned && config.time_embed_dim() == 100);
  EXPECT(config.freq_shift == 1 && !config.flip_sin_to_cos && !config.mid_block && config.layers_per_block == 3);
  EXPECT(config.mid_block_scale_factor == 1.5 && config.downsample_padding == 0);
  EXPECT(config.downsample_type == nd::ResampleType::resnet && config.upsample_type == nd::ResampleType::resnet);
  EXPECT(config.act_fn == nd::Activation::gelu && !config.attention_head_dim && config.norm_num_groups == 16);
  EXPECT(config.attn_norm_num_groups == 8 && config.norm_eps == 1e-6 && !config.add_attention);
  EXPECT(config.resnet_time_scale_shift == nd::TimeScaleShift::scale_shift);
  EXPECT(config.class_embedding == nd::ClassEmbedding::identity && config.num_train_timesteps == 1000);
}

TEST("the old prefix of block types, swish and null resampling mean what they mean in diffusers") {
  const auto config = parse(R"("down_block_types":["UNetResDownBlock2D","UNetResAttnDownBlock2D"],"act_fn":"swish",
                               "downsample_type":null,"upsample_type":"","num_class_embeds":10,"sample_size":32)");
  EXPECT(config.down_block_types[1] == nd::DownBlockType::attention);
  EXPECT(config.act_fn == nd::Activation::silu && config.downsample_type == nd::ResampleType::conv);
  EXPECT(config.upsample_type == nd::ResampleType::conv);
  EXPECT(config.class_embedding == nd::ClassEmbedding::table && config.num_class_embeds == 10);
  EXPECT(config.sample_size == std::pair(int64_t{32}, int64_t{32}));
}

TEST("a malformed value is refused by its key") {
  const std::pair<const char*, const char*> cases[] = {
      {"sample_size must be", R"("sample_size":[1,2,3])"},
      {"sample_size must be", R"("sample_size":0)"},
      {"in_channels must be an integer in 1 … 65536, got 0", R"("in_channels":0)"},
      {"in_channels", R"("in_channels":3.5)"},
      {"in_channels", R"("in_channels":true)"},
      {"in_channels", R"("in_channels":null)"},
      {"out_channels", R"("out_channels":65537)"},
      {"out_channels", R"("out_channels":-1)"},
      {"out_channels", R"("out_channels":18446744073709551615)"},
      {"center_input_sample must be true or false, got 1", R"("center_input_sample":1)"},
      {"time_embedding_type must be one of 'positional', 'fourier', 'learned', got \"x\"", R"("time_embedding_type":"x")"},
      {"down_block_types[1] must be one of 'DownBlock2D'", R"("down_block_types":["DownBlock2D","CrossAttnDownBlock2D"])"},
      {"down_block_types must be an array of 1 … 16", R"("down_block_types":[])"},
      {"up_block_types[0]", R"("up_block_types":[null])"},
      {"mid_block_type", R"("mid_block_type":"UNetMidBlock2DCrossAttn")"},
      {"block_out_channels", R"("block_out_channels":[32,"a"])"},
      {"layers_per_block", R"("layers_per_block":65)"},
      {"mid_block_scale_factor", R"("mid_block_scale_factor":0)"},
      {"downsample_padding", R"("downsample_padding":-1)"},
      {"downsample_type", R"("downsample_type":"fir")"},
      {"dropout", R"("dropout":2)"},
      {"act_fn", R"("act_fn":"tanh")"},
      {"act_fn", R"("act_fn":null)"},
      {"attention_head_dim", R"("attention_head_dim":0)"},
      {"norm_num_groups", R"("norm_num_groups":"32")"},
      {"norm_eps", R"("norm_eps":0)"},
      {"norm_eps", R"("norm_eps":"1e-5")"},
      {"resnet_time_scale_shift", R"("resnet_time_scale_shift":"spatial")"},
      {"class_embed_type must be one of null, 'timestep'", R"("class_embed_type":"projection")"},
      {"twice", R"("act_fn":"silu","act_fn":"relu")"},
  };
  for (const auto& [text, keys] : cases) EXPECT_ERROR(config, text, parse(keys));
  EXPECT_ERROR(config, "a JSON object", parse_unet2d_config("[]"));
  EXPECT_ERROR(config, "no valid JSON", parse_unet2d_config("{\"norm_eps\":NaN}"));
  EXPECT_ERROR(config, "no valid JSON", parse_unet2d_config(R"({"norm_eps":1e999})"));
  EXPECT_ERROR(config, "levels", parse_unet2d_config("{\"a\":" + std::string(100000, '[')));
  EXPECT_ERROR(config, "bytes", parse_unet2d_config(std::string(2 << 20, ' ')));
}

TEST("of a value that is refused, a message shows no more than a line") {
  std::string letters, numbers = "1";
  for (int i = 0; i < 100; ++i) letters += "é", numbers += ",1";
  // 80 bytes with the quote, of which half a letter is none.
  EXPECT_ERROR(config, "got \"" + letters.substr(0, 78) + "…", parse("\"act_fn\":\"" + letters + "\""));
  EXPECT_ERROR(config, "got an array of 101", parse("\"block_out_channels\":[" + numbers + "]"));
  EXPECT_ERROR(config, "got \"" + std::string(78, 'x') + "\"", parse("\"act_fn\":\"" + std::string(78, 'x') + "\""));
}

TEST("keys that contradict each other are refused by name") {
  const std::pair<const char*, const char*> cases[] = {
      {"down_block_types must have one entry for each of the 2", R"("down_block_types":["DownBlock2D"])"},
      {"up_block_types must have one", R"("up_block_types":["UpBlock2D","UpBlock2D","UpBlock2D"])"},
      {"norm_num_groups must divide the 32 channels", R"("norm_num_groups":5)"},
      {"norm_num_groups must divide the 100 channels that up_block_types[0]",
       R"("block_out_channels":[36,64],"down_block_types":["SkipDownBlock2D","SkipDownBlock2D"],
          "up_block_types":["UpBlock2D","SkipUpBlock2D"])"},
      {"norm_num_groups must be an integer", R"("norm_num_groups":null)"},
      {"norm_num_groups must be an integer", R"("norm_num_groups":null,"down_block_types":["SkipDownBlock2D","SkipDownBlock2D"],
          "up_block_types":["UpBlock2D","UpBlock2D"])"},
      {"attn_norm_num_groups must divide the 64 channels that the mid block", R"("attn_norm_num_groups":7)"},
      {"attention_head_dim must be at most the 64 channels of down_block_types[1]", R"("attention_head_dim":65)"},
      {"downsample_padding must be 0 or 1 for down_block_types[0]", R"("downsample_padding":2)"},
      {"num_train_timesteps", R"("time_embedding_type":"learned")"},
      {"freq_shift must not be half", R"("freq_shift":16)"},
      {"in_channels must be 3 for the Skip block down_block_types[0]",
       R"("in_channels":1,"down_block_types":["SkipDownBlock2D","DownBlock2D"])"},
      {"out_channels must be 3 for the Skip block up_block_types[0]",
       R"("out_channels":6,"up_block_types":["SkipUpBlock2D","SkipUpBlock2D"])"},
      {"up_block_types[1] must be a Skip block", R"("up_block_types":["SkipUpBlock2D","UpBlock2D"])"},
  };
  for (const auto& [text, keys] : cases) EXPECT_ERROR(config, text, parse(keys));
  EXPECT_ERROR(config, "down_block_types[0] must be a Skip block",
               parse(R"("block_out_channels":[32,64,64],"down_block_types":["DownBlock2D","SkipDownBlock2D","DownBlock2D"],
                        "up_block_types":["UpBlock2D","UpBlock2D","UpBlock2D"])"));
  EXPECT_ERROR(config, "2^36", parse(R"("block_out_channels":[65536,65536],"layers_per_block":8)"));
}

TEST("what contradicts nothing is taken") {
  EXPECT_EQUAL(parse(R"("attention_head_dim":48)").attention_head_dim.value(), int64_t{48});  // heads = ⌊64 / 48⌋
  EXPECT(parse(R"("attention_head_dim":65,"down_block_types":["DownBlock2D","DownBlock2D"],
                  "up_block_types":["UpBlock2D","UpBlock2D"],"add_attention":false)").attention_head_dim == 65);
  EXPECT_EQUAL(parse(R"("downsample_padding":2,"down_block_types":["ResnetDownsampleBlock2D","DownBlock2D"])").downsample_padding,
               int64_t{2});
  EXPECT(!parse(R"("norm_num_groups":null,)" + kSkip).norm_num_groups);
  EXPECT(parse(R"("time_embedding_type":"fourier","freq_shift":16)").freq_shift == 16);
}

TEST("Skip blocks choose their own groups, and their channels must suit those") {
  // min(20 / 4, 32) = 5 groups of 20 channels; 10 of 40; 15 of 20 + 40; but attention has 32 groups.
  const std::string plain = R"("block_out_channels":[20,40],"norm_num_groups":null,"add_attention":false,
      "down_block_types":["SkipDownBlock2D","SkipDownBlock2D"],"up_block_types":["SkipUpBlock2D","SkipUpBlock2D"])";
  EXPECT_EQUAL(parse(plain).block_out_channels[0], int64_t{20});
  EXPECT_ERROR(config, "block_out_channels must suit the 40 channels that down_block_types[1]",
               parse(R"("block_out_channels":[20,40],"norm_num_groups":null,"add_attention":false,)" + kSkip));
  // diffusers' AttnSkipUpBlock2D takes min(64 + 64 / 4, 32) groups, SkipUpBlock2D min((64 + 64) / 4, 32).
  EXPECT(parse(kSkip).up_block_types[0] == nd::UpBlockType::attention_skip);
  EXPECT_ERROR(config, "block_out_channels must suit the 3 channels", parse(R"("block_out_channels":[3,32],
      "norm_num_groups":1,"down_block_types":["SkipDownBlock2D","DownBlock2D"])"));
}

}  // namespace
