"""Records what real diffusers' UNet2DModel computes with tiny random weights. From the repository's root:

    pip install -r scripts/requirements.txt --extra-index-url https://download.pytorch.org/whl/cpu
    python scripts/parity/record_unet.py

Writes test/fixtures/parity/unet.json + unet.bin. Weights and inputs are not stored: a reader draws them again from the
seeds. Two runs on one machine write the same bytes.
"""

import argparse
import json
import os
import random
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import torch  # noqa: E402
from diffusers import UNet2DModel  # noqa: E402
from diffusers.utils import logging  # noqa: E402

from common import SEED  # noqa: E402
from store import Store  # noqa: E402
from unet_cases import block_cases, embedding_cases, layer_cases, random_case  # noqa: E402
from unet_runs import record_runs  # noqa: E402
from unet_weights import RULE, draw_inputs, draw_weights  # noqa: E402

COMMAND = "python scripts/parity/record_unet.py"
ROOT = Path(__file__).resolve().parents[2]
RANDOM_CASES = 12
# Fourier embeddings multiply a rounding error by hundreds of radians; a random case leaves the tests' 1e-5 some room.
FLOAT32_ERROR = 3e-6


def relative_error(y: torch.Tensor, reference: torch.Tensor) -> float:
    y, reference = y.double(), reference.double()
    return float(f"{((y - reference).norm() / reference.norm()).item():.3g}")


def run(model: UNet2DModel, inputs: tuple, dtype: torch.dtype) -> torch.Tensor:
    sample, timesteps, labels = inputs
    if labels is not None and labels.is_floating_point():
        labels = labels.to(dtype)
    return model.to(dtype)(sample.to(dtype), timesteps, labels).sample


def record_case(store: Store, spec: dict, seed: int) -> dict:
    model = UNet2DModel(**spec["config"]).eval()
    weights = draw_weights(model, seed)
    initial = {name: value.clone() for name, value in model.state_dict().items()}
    inputs = [draw_inputs(model.config.in_channels, f, seed + 1 + i) for i, f in enumerate(spec["forwards"])]
    if model.config.class_embed_type == "timestep":
        # diffusers itself runs these in float32 only: it leaves the embedded labels in float32.
        model.class_embedding.register_forward_pre_hook(lambda m, x: (x[0].to(m.linear_1.weight.dtype),))
    outputs = {}
    for dtype in (torch.float32, torch.float64, torch.bfloat16, torch.float16):
        model.to(dtype).load_state_dict(initial)
        outputs[dtype] = [run(model, x, dtype) for x in inputs]
    forwards = []
    for i, forward in enumerate(spec["forwards"]):
        y, exact = outputs[torch.float32][i], outputs[torch.float64][i]
        if not torch.isfinite(exact).all() or y.std() < 1e-4:
            raise ValueError(f"{spec['name']}: the output says nothing")
        forwards.append(forward | {
            "seed": seed + 1 + i,
            "output": store.tensor(y),
            "float64_output": store.tensor(exact.float()),
            "diffusers_errors": {
                "float32": relative_error(y, exact),
                "bfloat16": relative_error(outputs[torch.bfloat16][i], y),
                "float16": relative_error(outputs[torch.float16][i], y),
            },
        })
    config = json.loads(model.to_json_string())
    return {"name": spec["name"], "seed": seed, "config": config, "forwards": forwards} | weights


def record_random(store: Store, seed: int) -> list:
    rng = random.Random(SEED)
    cases = []
    while len(cases) < RANDOM_CASES:
        spec = random_case(rng)
        spec["name"] = f"random {len(cases)}"
        try:
            case = record_case(store, spec, seed + 100 * len(cases))
        except (RuntimeError, ValueError, IndexError):
            continue  # diffusers cannot build or run this one
        if all(f["diffusers_errors"]["float32"] <= FLOAT32_ERROR for f in case["forwards"]):
            cases.append(case)
    return cases


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=ROOT / "test/fixtures/parity")
    args = parser.parse_args()
    logging.set_verbosity_error()
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    store = Store("unet", COMMAND, "What diffusers' UNet2DModel gives with tiny random weights.")
    store.add("seed", SEED)
    store.add("weights", RULE)
    store.add("inputs", "one generator with the forward's seed draws the sample [B, in_channels, *size], then, where "
              "label_width is given, the class labels [B, label_width]; whole timesteps are int64, others float32")
    store.add("errors", "float64_output is the float64 model's, rounded; diffusers_errors: float32's against "
              "float64's, the halves' against float32's, all |y - reference| / |reference|")
    specs = block_cases() + layer_cases() + embedding_cases()
    cases = [record_case(store, spec, SEED + 100 * i) for i, spec in enumerate(specs)]
    cases += record_random(store, SEED + 100 * len(specs))
    store.add("cases", cases)
    record_runs(store, SEED + 1_000_000)
    store.write(args.out)


if __name__ == "__main__":
    with torch.no_grad():
        main()
