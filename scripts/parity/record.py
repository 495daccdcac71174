"""Records what real diffusers computes, for the parity tests. From the repository's root:

    pip install -r scripts/requirements.txt --extra-index-url https://download.pytorch.org/whl/cpu
    python scripts/parity/record.py

Writes test/fixtures/parity: schedulers.json + .bin, pipelines.json + .bin and configs/. Two runs on one machine write
the same bytes.
"""

import argparse
import os
import sys
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import torch  # noqa: E402
from diffusers.utils import logging  # noqa: E402

sys.path.insert(0, str(Path(__file__).parent))

from common import SEED, Inputs  # noqa: E402
from configs import record_configs  # noqa: E402
from differences import record_differences  # noqa: E402
from draws import record_draws  # noqa: E402
from forward import record_forward, record_per_sample  # noqa: E402
from loops import record_loops, record_test_figures  # noqa: E402
from pipelines import record_pipelines  # noqa: E402
from steps import record_steps  # noqa: E402
from store import Store  # noqa: E402
from tables import record_tables, record_timesteps  # noqa: E402

COMMAND = "python scripts/parity/record.py"
ROOT = Path(__file__).resolve().parents[2]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=ROOT / "test/fixtures/parity")
    parser.add_argument("--only", choices=["schedulers", "pipelines"])
    args = parser.parse_args()
    logging.set_verbosity_error()
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)

    if args.only != "pipelines":
        store = Store("schedulers", COMMAND, "What diffusers' three schedulers here and torch.randn give.")
        store.add("seed", SEED)
        inputs = Inputs(store)
        for record in (record_tables, record_timesteps):
            record(store)
        for record in (record_steps, record_forward, record_per_sample, record_differences):
            record(store, inputs)
        for record in (record_loops, record_test_figures, record_draws):
            record(store)
        store.write(args.out)
        record_configs(args.out / "configs")
    if args.only != "schedulers":
        store = Store("pipelines", COMMAND, "What diffusers' pipelines and UNet give on models/fashion-mnist-ddpm.")
        record_pipelines(store, ROOT / "models/fashion-mnist-ddpm")
        store.write(args.out)


if __name__ == "__main__":
    with torch.no_grad():
        main()
