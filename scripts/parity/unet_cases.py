"""The tiny UNet2DModels of the parity tests: every block type and option of the config, alone and mixed."""

import random

PLAIN = ("DownBlock2D", "UpBlock2D")
ATTENTION = ("AttnDownBlock2D", "AttnUpBlock2D")
RESNET = ("ResnetDownsampleBlock2D", "ResnetUpsampleBlock2D")
SKIP = ("SkipDownBlock2D", "SkipUpBlock2D")
ATTENTION_SKIP = ("AttnSkipDownBlock2D", "AttnSkipUpBlock2D")
FAMILIES = (PLAIN, ATTENTION, RESNET, SKIP, ATTENTION_SKIP)

BASE = {
    "sample_size": [8, 8],
    "in_channels": 3,
    "out_channels": 3,
    "block_out_channels": [8, 16],
    "layers_per_block": 1,
    "norm_num_groups": 4,
    "attention_head_dim": 4,
}
FORWARD = {"size": [8, 8], "timestep": [3, 421]}


def mirrored(*families) -> dict:
    """A UNet whose up path is the mirror of its down path."""
    return {"down_block_types": [f[0] for f in families], "up_block_types": [f[1] for f in reversed(families)]}


def blocks(down, up) -> dict:
    return {"down_block_types": [f[0] for f in down], "up_block_types": [f[1] for f in up]}


def case(name: str, *configs: dict, forwards=(FORWARD,)) -> dict:
    config = dict(BASE)
    for more in configs:
        config |= more
    return {"name": name, "config": config, "forwards": [FORWARD | f for f in forwards]}


MIXED = mirrored(PLAIN, ATTENTION)
WIDE = {"block_out_channels": [32, 32], "attention_head_dim": 16}
NCSNPP = {
    "time_embedding_type": "fourier",
    "norm_num_groups": None,
    "attention_head_dim": None,
    "mid_block_scale_factor": 1.41421356237,
    "norm_eps": 1e-6,
}
CIFAR10 = {
    "sample_size": 32,
    "block_out_channels": [8, 16, 16, 16],
    "layers_per_block": 2,
    "attention_head_dim": None,
    "downsample_padding": 0,
    "flip_sin_to_cos": False,
    "freq_shift": 1,
    "norm_eps": 1e-6,
} | mirrored(PLAIN, ATTENTION, PLAIN, PLAIN)


def block_cases() -> list:
    return [
        case("blocks plain", mirrored(PLAIN, PLAIN)),
        case("blocks attention", mirrored(ATTENTION, ATTENTION)),
        case("blocks resnet resampling", mirrored(RESNET, RESNET)),
        case("blocks skip", mirrored(SKIP, SKIP)),
        case("blocks attention skip", mirrored(ATTENTION_SKIP, ATTENTION_SKIP), WIDE),
        case("blocks plain and attention", MIXED),
        case("blocks of every kind but skip", mirrored(PLAIN, ATTENTION, RESNET), {"block_out_channels": [8, 16, 24]}),
        case("blocks up unlike down", blocks((PLAIN, RESNET, ATTENTION), (PLAIN, ATTENTION, RESNET)),
             {"block_out_channels": [8, 16, 16]}),
        case("blocks skip before others", blocks((SKIP, PLAIN, ATTENTION), (ATTENTION, RESNET, PLAIN)),
             {"block_out_channels": [8, 16, 16]}),
        case("blocks skip last", mirrored(PLAIN, SKIP) | {"up_block_types": ["UpBlock2D", "SkipUpBlock2D"]},
             {"in_channels": 2, "out_channels": 1}),
        case("blocks attention skip last", blocks((RESNET, ATTENTION_SKIP), (PLAIN, ATTENTION_SKIP)), WIDE),
        case("blocks skip up after others", blocks((PLAIN, ATTENTION, PLAIN), (PLAIN, SKIP, SKIP)),
             {"block_out_channels": [8, 16, 16], "in_channels": 1}),
        case("blocks skip both ways, unequal widths", mirrored(SKIP, ATTENTION_SKIP, SKIP),
             {"block_out_channels": [32, 64, 32], "attention_head_dim": 8, "layers_per_block": 2}),
        # Its up block takes min(in + skip // 4, 32) groups (24 of 48 channels here), not min((in + skip) // 4, 32).
        case("group rule of attention skip up", mirrored(ATTENTION_SKIP, SKIP), {"block_out_channels": [32, 16]}),
        case("one block", mirrored(ATTENTION), {"block_out_channels": [8]}),
        case("one plain block without mid", mirrored(PLAIN), {"block_out_channels": [8], "mid_block_type": None}),
        case("one skip block", mirrored(SKIP), {"block_out_channels": [8]}),
        case("four blocks", mirrored(PLAIN, RESNET, ATTENTION, PLAIN), {"block_out_channels": [4, 8, 16, 8]},
             forwards=[{"size": [16, 16]}]),
        case("old block names", {"down_block_types": ["UNetResDownBlock2D", "UNetResAttnDownBlock2D"],
                                 "up_block_types": ["UNetResAttnUpBlock2D", "UNetResUpBlock2D"]}),
        case("no mid block", MIXED, {"mid_block_type": None}),
        case("ddpm-cifar10-32 shrunk", CIFAR10,
             forwards=[{"size": [16, 16], "timestep": [999, 0]}, {"size": [16, 16], "timestep": 500, "batch": 1}]),
        case("ncsnpp shrunk", NCSNPP, mirrored(SKIP, ATTENTION_SKIP, SKIP), {"block_out_channels": [32, 32, 32]},
             forwards=[{"timestep": [0.5, 1380.25]}]),
        case("ncsnpp with class timesteps", NCSNPP, mirrored(SKIP, SKIP), {"class_embed_type": "timestep"},
             forwards=[{"labels": [1, 9]}]),
    ]


def layer_cases() -> list:
    return [
        case("attention_head_dim null", mirrored(ATTENTION, ATTENTION), {"attention_head_dim": None}),
        case("attention_head_dim 8", mirrored(ATTENTION, ATTENTION), {"attention_head_dim": 8}),
        case("attention_head_dim 1", MIXED, {"attention_head_dim": 1}),
        case("attention_head_dim that does not divide", mirrored(ATTENTION, ATTENTION),
             {"attention_head_dim": 7, "block_out_channels": [8, 20]}),
        case("add_attention false", MIXED, {"add_attention": False}),
        case("layers_per_block 2", MIXED, {"layers_per_block": 2}),
        case("layers_per_block 3", mirrored(ATTENTION, RESNET), {"layers_per_block": 3}),
        case("resnet downsampling in attention blocks", mirrored(ATTENTION, ATTENTION), {"downsample_type": "resnet"}),
        case("resnet upsampling in attention blocks", mirrored(ATTENTION, ATTENTION), {"upsample_type": "resnet"}),
        case("resnet both ways in attention blocks, scale_shift", mirrored(ATTENTION, ATTENTION, PLAIN),
             {"downsample_type": "resnet", "upsample_type": "resnet", "resnet_time_scale_shift": "scale_shift",
              "block_out_channels": [8, 16, 16]}),
        case("downsample_padding 0", mirrored(PLAIN, ATTENTION, PLAIN),
             {"downsample_padding": 0, "block_out_channels": [8, 16, 16]}),
        case("downsample_padding 0 in attention and skip blocks", mirrored(SKIP, ATTENTION, PLAIN)
             | {"up_block_types": ["UpBlock2D", "AttnUpBlock2D", "UpBlock2D"]},
             {"downsample_padding": 0, "block_out_channels": [8, 16, 16]}),
        case("scale_shift", mirrored(ATTENTION, ATTENTION), {"resnet_time_scale_shift": "scale_shift"}),
        case("scale_shift with attn_norm_num_groups", MIXED,
             {"resnet_time_scale_shift": "scale_shift", "attn_norm_num_groups": 8}),
        case("scale_shift in resnet and skip blocks", mirrored(SKIP, RESNET, SKIP)
             | {"up_block_types": ["ResnetUpsampleBlock2D", "SkipUpBlock2D", "SkipUpBlock2D"]},
             {"resnet_time_scale_shift": "scale_shift", "block_out_channels": [8, 16, 16]}),
        case("attn_norm_num_groups", MIXED, {"attn_norm_num_groups": 2}),
        case("norm_num_groups 1", MIXED, {"norm_num_groups": 1}),
        case("norm_num_groups of every channel", mirrored(PLAIN, RESNET),
             {"norm_num_groups": 8, "block_out_channels": [8, 8]}),
        case("norm_num_groups null", mirrored(SKIP, SKIP), {"norm_num_groups": None}),
        case("norm_eps", MIXED, {"norm_eps": 0.1}),
        case("mid_block_scale_factor", MIXED, {"mid_block_scale_factor": 2**0.5}),
        *(case(f"act_fn {name}", mirrored(RESNET, ATTENTION) | {"up_block_types": ["AttnUpBlock2D", "UpBlock2D"]},
               {"act_fn": name}) for name in ("silu", "swish", "mish", "gelu", "relu")),
        case("act_fn gelu in skip blocks", mirrored(SKIP, SKIP), {"act_fn": "gelu"}),
        case("widths that fit no vector", mirrored(ATTENTION, RESNET, PLAIN),
             {"block_out_channels": [6, 9, 15], "norm_num_groups": 3, "attention_head_dim": 3}),
    ]


def embedding_cases() -> list:
    scalar = {"timestep": 17, "batch": 3}
    return [
        case("fourier", MIXED, {"time_embedding_type": "fourier"},
             forwards=[{"timestep": [1, 999]}, {"timestep": [0.01, 50.5]}]),
        case("learned", MIXED, {"time_embedding_type": "learned", "num_train_timesteps": 20},
             forwards=[{"timestep": [0, 19]}, scalar]),
        case("timesteps whole and fractional, one and many", MIXED,
             forwards=[scalar, {"timestep": [0, 500, 999]}, {"timestep": 17.5}, {"timestep": [0.125, 998.75]}]),
        case("flip_sin_to_cos false", MIXED, {"flip_sin_to_cos": False}),
        case("freq_shift 1", MIXED, {"freq_shift": 1}),
        case("freq_shift 0.5, flip_sin_to_cos false", MIXED, {"freq_shift": 0.5, "flip_sin_to_cos": False}),
        case("odd embedding width", mirrored(PLAIN, PLAIN), {"block_out_channels": [7, 14], "norm_num_groups": 1},
             forwards=[{"timestep": [40, 41]}]),
        case("odd embedding width, flipped", mirrored(PLAIN, RESNET),
             {"block_out_channels": [5, 10], "norm_num_groups": 5, "flip_sin_to_cos": False}),
        case("time_embedding_dim", MIXED, {"time_embedding_dim": 20}),
        case("class table", MIXED, {"num_class_embeds": 5}, forwards=[{"labels": [0, 4]}, {"labels": [2, 2]}]),
        case("class timestep", MIXED, {"class_embed_type": "timestep"}, forwards=[{"labels": [0, 700]}]),
        case("class identity", MIXED, {"class_embed_type": "identity"}, forwards=[{"label_width": 32}]),
        case("class identity, time_embedding_dim, scale_shift", MIXED,
             {"class_embed_type": "identity", "time_embedding_dim": 12, "resnet_time_scale_shift": "scale_shift"},
             forwards=[{"label_width": 12}]),
        case("class table and scale_shift in resnet blocks", mirrored(RESNET, ATTENTION),
             {"num_class_embeds": 3, "resnet_time_scale_shift": "scale_shift"}, forwards=[{"labels": [1, 2]}]),
        case("class timestep, fourier", MIXED, {"class_embed_type": "timestep", "time_embedding_type": "fourier"},
             forwards=[{"labels": [1, 5]}]),
        case("class timestep, learned", MIXED,
             {"class_embed_type": "timestep", "time_embedding_type": "learned", "num_train_timesteps": 10},
             forwards=[{"timestep": [0, 9], "labels": [4, 4]}]),
        case("class table, fourier", MIXED, {"num_class_embeds": 2, "time_embedding_type": "fourier"},
             forwards=[{"labels": [1, 0]}]),
        case("center_input_sample", MIXED, {"center_input_sample": True}),
        case("center_input_sample in skip blocks", mirrored(SKIP, SKIP), {"center_input_sample": True}),
        case("channels in and out differ", MIXED, {"in_channels": 5, "out_channels": 2}),
        case("channels 1", mirrored(PLAIN, ATTENTION, PLAIN), {"in_channels": 1, "out_channels": 1,
                                                               "block_out_channels": [8, 16, 16]}),
        case("sample not square", mirrored(PLAIN, ATTENTION, RESNET),
             {"sample_size": [4, 12], "block_out_channels": [8, 16, 16]},
             forwards=[{"size": [4, 12]}, {"size": [20, 4]}]),
        case("skip blocks, sample not square", mirrored(SKIP, SKIP), forwards=[{"size": [6, 10]}]),
        case("batch 9", MIXED, forwards=[{"size": [4, 4], "timestep": [111 * i for i in range(9)]}]),
    ]


def random_case(rng: random.Random) -> dict:
    """Any config at all; diffusers can run only some of them."""
    depth = rng.choice([1, 2, 2, 3, 3])
    down, up = ([rng.choice(FAMILIES) for _ in range(depth)] for _ in range(2))
    unit = 32 if ATTENTION_SKIP in down + up else rng.choice([8, 12])
    labels = rng.choice([{}, {"num_class_embeds": 4}, {"class_embed_type": "timestep"}])
    config = {
        "block_out_channels": [unit * rng.choice([1, 1, 2]) for _ in range(depth)],
        "layers_per_block": rng.choice([1, 2]),
        "norm_num_groups": rng.choice([1, 2, 4]),
        "attention_head_dim": rng.choice([None, 4, 6]),
        "time_embedding_type": rng.choice(["positional", "positional", "fourier"]),
        "flip_sin_to_cos": rng.random() < 0.5,
        "freq_shift": rng.choice([0, 1]),
        "resnet_time_scale_shift": rng.choice(["default", "scale_shift"]),
        "downsample_type": rng.choice(["conv", "resnet"]),
        "upsample_type": rng.choice(["conv", "resnet"]),
        "downsample_padding": rng.choice([0, 1]),
        "act_fn": rng.choice(["silu", "mish", "gelu", "relu"]),
        "mid_block_type": rng.choice(["UNetMidBlock2D", "UNetMidBlock2D", None]),
        "mid_block_scale_factor": rng.choice([1, 1.5]),
        "add_attention": rng.random() < 0.7,
        "center_input_sample": rng.random() < 0.3,
        "attn_norm_num_groups": rng.choice([None, 2]),
        "norm_eps": rng.choice([1e-5, 1e-6]),
        "time_embedding_dim": rng.choice([None, 24]),
    } | labels
    forward = {"size": rng.choice([[8, 8], [8, 4], [4, 16]]), "timestep": [rng.randint(1, 999), rng.randint(1, 999)]}
    if labels:
        forward["labels"] = [rng.randint(1, 3), rng.randint(1, 3)]
    return case("random", blocks(down, up), config, forwards=[forward])
