"""Makes the checkpoints of the native tests, each as the library that owns its format writes it. From the repository's
root:

    pip install -r scripts/requirements.txt --extra-index-url https://download.pytorch.org/whl/cpu
    python scripts/parity/record_checkpoints.py

Writes test/fixtures/checkpoints. The tests know the values: entry i of the tensor that is the k-th by name is k + i/64.
"""

import argparse
import json
import os
import platform
import shutil
import sys
import zipfile
from collections import OrderedDict
from pathlib import Path

import diffusers
import safetensors
import torch
from diffusers import UNet2DModel
from safetensors.torch import save_file

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "scripts"))
from export_torchscript import serialize  # noqa: E402

TARGET = ROOT / "test" / "fixtures" / "checkpoints"
CORPUS = ROOT / "test" / "fuzz" / "corpus"
DTYPES = [
    torch.float64, torch.float32, torch.float16, torch.bfloat16,
    torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8, torch.bool,
]  # fmt: skip


def make_unet():
    unet = UNet2DModel(
        sample_size=8, in_channels=1, out_channels=1, block_out_channels=(4, 4), layers_per_block=1,
        norm_num_groups=2, attention_head_dim=4, down_block_types=("DownBlock2D", "AttnDownBlock2D"),
        up_block_types=("AttnUpBlock2D", "UpBlock2D"),
    )  # fmt: skip
    with torch.no_grad():
        for k, (_, tensor) in enumerate(sorted(unet.state_dict().items())):
            tensor.copy_(k + torch.arange(tensor.numel()).view(tensor.shape) / 64)
    return unet


def one_of_each_dtype():
    """0 … 5 in each, [2, 3]."""
    return {str(d).removeprefix("torch."): torch.arange(6).view(2, 3).to(d) for d in DTYPES}


def make_views():
    """Tensors that are windows of one storage."""
    base = torch.arange(24, dtype=torch.float32)
    return OrderedDict(
        base=base,
        offset=base[8:12],
        transposed=base[:6].view(2, 3).t(),
        strided=base[1::3],
        parameter=torch.nn.Parameter(base[4:6]),
        scalar=torch.tensor(7.0),
        empty=torch.zeros(0, 3),
    )


class RunsCode:
    """What a pickle must never do to its reader."""

    def __reduce__(self):
        return os.system, ("touch /tmp/node-diffusers-was-here",)


class Inner(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.scale = torch.nn.Parameter(torch.arange(4.0))
        self.register_buffer("count", torch.tensor([3, 5]))
        self.name, self.sizes = "inner", [1, 2]

    def forward(self, x):
        return x * self.scale + self.count.sum()


class Wrapper(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.unet = torch.nn.ModuleDict({"first": Inner(), "second": Inner()})

    def forward(self, x):
        for inner in self.unet.values():
            x = inner(x)
        return x


def with_other_byteorder(source: Path, target: Path):
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w") as new:
        for info in old.infolist():
            new.writestr(zipfile.ZipInfo(info.filename), b"big" if info.filename.endswith("byteorder") else old.read(info))


def write_corpus():
    """The fuzzers' seeds. What they found lies beside them and stays."""
    for name in ("dtypes.safetensors", "float8.safetensors"):
        shutil.copy(TARGET / name, CORPUS / "safetensors" / name)
    index = {"metadata": {"total_size": 1}, "weight_map": {"a": "model-00001-of-00001.safetensors"}}
    (CORPUS / "safetensors" / "index.json").write_text(json.dumps(index))
    for name in ("views.bin", "scripted.pt", "runs-code.bin", "nested.bin", "protocol5.bin"):
        with zipfile.ZipFile(TARGET / name) as archive:
            pickle = next(n for n in archive.namelist() if n.endswith("/data.pkl"))
            (CORPUS / "pickle" / f"{name}.pkl").write_bytes(archive.read(pickle))
    for name in ("mixed.bin", "scripted.pt", "frozen.pt"):
        shutil.copy(TARGET / name, CORPUS / "pickle" / name)
    shutil.copy(TARGET / "whole" / "config.json", CORPUS / "unet_config" / "config.json")


def main():
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    shutil.rmtree(TARGET, ignore_errors=True)
    TARGET.mkdir(parents=True)
    unet = make_unet()
    unet.save_pretrained(TARGET / "whole")
    unet.save_pretrained(TARGET / "sharded", max_shard_size="8KB")
    unet.save_pretrained(TARGET / "sharded-bin", max_shard_size="8KB", safe_serialization=False)
    state = unet.state_dict()
    torch.save(state, TARGET / "unet.bin")
    torch.save({"state_dict": dict(one_of_each_dtype()), "epoch": 3}, TARGET / "nested.bin")
    torch.save(one_of_each_dtype(), TARGET / "protocol5.bin", pickle_protocol=5)
    torch.save(make_views(), TARGET / "views.bin")
    torch.save({"weight": torch.zeros(2), "epoch": 3}, TARGET / "mixed.bin")
    torch.save({"weight": torch.zeros(2), "evil": RunsCode()}, TARGET / "runs-code.bin")
    torch.save({"weight": torch.zeros(2)}, TARGET / "legacy.bin", _use_new_zipfile_serialization=False)
    torch.save({"weight": torch.zeros(2, dtype=torch.complex64)}, TARGET / "complex.bin")
    with_other_byteorder(TARGET / "mixed.bin", TARGET / "big-endian.bin")
    save_file(one_of_each_dtype(), TARGET / "dtypes.safetensors", metadata={"format": "pt"})
    save_file({"weight": torch.zeros(2, dtype=torch.float8_e4m3fn)}, TARGET / "float8.safetensors")
    scripted = torch.jit.script(Wrapper().eval())
    (TARGET / "scripted.pt").write_bytes(serialize(scripted, {}))
    (TARGET / "frozen.pt").write_bytes(serialize(torch.jit.freeze(scripted), {}))
    write_corpus()
    about = {
        "command": "python scripts/parity/record_checkpoints.py",
        "versions": {
            "python": platform.python_version(),
            "torch": torch.__version__,
            "diffusers": diffusers.__version__,
            "safetensors": safetensors.__version__,
        },
    }
    (TARGET / "about.json").write_text(json.dumps(about, indent=2) + "\n")
    print(f"{sum(f.stat().st_size for f in TARGET.rglob('*') if f.is_file())} bytes in {TARGET}")


if __name__ == "__main__":
    main()
