"""Records what diffusers' UNet2DModel constructor draws for a seed: test/fixtures/parity/unet-seeds.json.

Run from the repository's root: python scripts/parity/record_unet_seeds.py
"""

import argparse
import hashlib
import json
from pathlib import Path

import torch
from diffusers import UNet2DModel

from store import Store

SEED = 7
SMALL = {"sample_size": 16, "block_out_channels": (32, 64), "layers_per_block": 1, "norm_num_groups": 8}
CASES = [
    {
        **SMALL,
        "down_block_types": ("AttnDownBlock2D", "ResnetDownsampleBlock2D"),
        "up_block_types": ("ResnetUpsampleBlock2D", "AttnUpBlock2D"),
        "num_class_embeds": 5,
    },
    {
        **SMALL,
        "down_block_types": ("SkipDownBlock2D", "AttnSkipDownBlock2D"),
        "up_block_types": ("AttnSkipUpBlock2D", "SkipUpBlock2D"),
        "time_embedding_type": "fourier",
    },
    {
        **SMALL,
        "block_out_channels": (24, 40),
        "down_block_types": ("DownBlock2D", "AttnDownBlock2D"),
        "up_block_types": ("AttnUpBlock2D", "UpBlock2D"),
        "time_embedding_type": "learned",
        "num_train_timesteps": 50,
        "class_embed_type": "timestep",
        "downsample_type": "resnet",
        "upsample_type": "resnet",
        "resnet_time_scale_shift": "scale_shift",
    },
]


def digest(model: torch.nn.Module) -> str:
    """The sha256 of all parameters' bytes, by their names' order."""
    sha = hashlib.sha256()
    for _, value in sorted(model.state_dict().items()):
        sha.update(value.contiguous().numpy().tobytes())
    return sha.hexdigest()


def main() -> None:
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    store = Store(
        "unet-seeds",
        "python scripts/parity/record_unet_seeds.py",
        "sha256 of the float32 weights that UNet2DModel(**config) draws after torch.manual_seed(seed), in their names' order",
    )
    cases = []
    for config in CASES:
        torch.manual_seed(SEED)
        cases.append({"seed": SEED, "config": json.loads(json.dumps(config)), "sha256": digest(UNet2DModel(**config))})
    store.add("cases", cases)
    store.write_manifest(Path("test/fixtures/parity"))


if __name__ == "__main__":
    main()
