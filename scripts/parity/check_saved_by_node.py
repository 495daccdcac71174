"""Loads what this package's savePretrained wrote with real diffusers, and compares its outputs with those that Node
recorded. From the repository's root:

    npx tsx scripts/parity/save-by-node.ts FOLDER
    python scripts/parity/check_saved_by_node.py FOLDER

Writes test/fixtures/parity/saved-by-node.json: versions, the digest of each file that was loaded, the relative errors.
The parity tests see to it that savePretrained still writes these very files.
"""

import argparse
import hashlib
import json
import os
import sys
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import torch  # noqa: E402
from diffusers import UNet2DModel  # noqa: E402
from safetensors.torch import load_file  # noqa: E402

from store import Store  # noqa: E402

COMMAND = "npx tsx scripts/parity/save-by-node.ts FOLDER && python scripts/parity/check_saved_by_node.py FOLDER"
ROOT = Path(__file__).resolve().parents[2]
WEIGHTS = "diffusion_pytorch_model.safetensors"
TOLERANCE = {"float32": 1e-5, "bfloat16": 2e-2, "float16": 5e-3}


def values(entry: dict) -> torch.Tensor:
    return torch.tensor(entry["values"]).reshape(entry["shape"])


def check(folder: Path) -> dict:
    recorded = json.loads((folder / "forward.json").read_text())
    unet, info = UNet2DModel.from_pretrained(folder, output_loading_info=True)
    if any(info[key] for key in ("missing_keys", "unexpected_keys", "mismatched_keys", "error_msgs")):
        raise ValueError(f"{folder}: {info}")
    stored = {str(value.dtype).removeprefix("torch.") for value in load_file(folder / WEIGHTS).values()}
    if recorded["dtype"] not in stored:
        raise ValueError(f"{folder}: the file holds {stored}, wanted {recorded['dtype']}")
    labels = None if recorded["labels"] is None else torch.tensor(recorded["labels"])
    timestep = torch.tensor(recorded["timestep"])
    y = unet.eval()(values(recorded["sample"]), timestep, labels).sample
    output = values(recorded["output"])
    return {
        "name": recorded["name"],
        "dtype": recorded["dtype"],
        "config": json.loads((folder / "config.json").read_text()),
        "weights_sha256": hashlib.sha256((folder / WEIGHTS).read_bytes()).hexdigest(),
        "relative_error": float(f"{((output - y).norm() / y.norm()).item():.3g}"),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--out", type=Path, default=ROOT / "test/fixtures/parity")
    args = parser.parse_args()
    torch.set_num_threads(1)
    checked = [check(folder) for folder in sorted(args.folder.iterdir()) if (folder / "forward.json").exists()]
    for entry in checked:
        print(f"{entry['name']}, {entry['dtype']}: relative error {entry['relative_error']}")
    if not checked or any(not entry["relative_error"] <= TOLERANCE[entry["dtype"]] for entry in checked):
        print("FAILED: nothing was recorded")
        return 1
    about = "Folders of this package's savePretrained that real diffusers loaded and ran."
    store = Store("saved-by-node", COMMAND, about)
    store.add("folders", checked)
    store.write_manifest(args.out)
    return 0


if __name__ == "__main__":
    with torch.no_grad():
        sys.exit(main())
