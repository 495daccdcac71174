#!/usr/bin/env python3
"""Exports the UNet of a diffusers folder to one TorchScript file that node-diffusers runs.

FOLDER is a pipeline's folder (its unet/ is taken) or a UNet2DModel's own. The file holds the program, the weights under
diffusers' names, config.json as it is, and metadata.json. Neither device nor dtype, batch, height nor width is fixed in
it: load it on the CPU or a GPU, in float32, float64, float16 or bfloat16. Before anything is written the export is
compared with diffusers for several batches, sizes, dtypes and devices.

examples:
  pip install -r scripts/requirements.txt --extra-index-url https://download.pytorch.org/whl/cpu
  python scripts/export_torchscript.py models/fashion-mnist-ddpm -o clothes.pt
      then: node-diffusers sample --model clothes.pt
  python scripts/export_torchscript.py my-unet
      writes my-unet/unet.pt; pipelines run it where the folder has no weights of diffusers

A repository of the Hugging Face hub: fetch it first with `hf download REPO --local-dir FOLDER`.
"""

import argparse
import copy
import io
import json
import os
import sys
import tempfile
from pathlib import Path

from torchscript_trace import (
    DiffusersFails,
    ExportError,
    free_devices,
    free_dtypes,
    make_inputs,
    sizes_to_try,
    takes_class_labels,
    trace,
)

os.environ.setdefault("HF_HUB_OFFLINE", "1")

FORMAT, FORMAT_VERSION = "node-diffusers-unet", 1
BATCHES = (1, 2, 3, 16)
# How far the export may be from diffusers, relative to the largest output: rounding of another order of summation.
TOLERANCE = {"float32": 1e-5, "float64": 1e-12, "bfloat16": 2e-2}


# --- reading the folder ---------------------------------------------------------------------------------------------
def find_unet(folder: Path) -> Path:
    """The folder of the UNet: FOLDER/unet, else FOLDER itself, as diffusers looks for a component."""
    if not folder.is_dir():
        raise ExportError(f"{folder} is no folder; it must be a diffusers pipeline's folder or a UNet2DModel's")
    for candidate in (folder / "unet", folder):
        if (candidate / "config.json").is_file():
            return candidate
    raise ExportError(f"{folder} has neither unet/config.json nor config.json; is it a folder that diffusers saved?")


def read_config(folder: Path) -> tuple[str, dict]:
    """config.json, word for word and parsed."""
    file = folder / "config.json"
    try:
        text = file.read_text(encoding="utf-8")
        config = json.loads(text)
    except (OSError, ValueError) as error:
        raise ExportError(f"{file} can't be read: {error}") from error
    name = config.get("_class_name") if isinstance(config, dict) else None
    if name != "UNet2DModel":
        raise ExportError(f"{file} is of a {name}; only UNet2DModel can be exported")
    return text, config


def load_unet(folder: Path):
    from diffusers import UNet2DModel

    try:
        return UNet2DModel.from_pretrained(folder).eval().requires_grad_(False)
    except Exception as error:  # whatever diffusers and its readers of weights throw
        raise ExportError(f"diffusers can't load {folder}: {str(error).strip().splitlines()[0]}") from error


# --- the file -------------------------------------------------------------------------------------------------------
def serialize(module, extra: dict[str, str]) -> bytes:
    """The archive, without the records that hold the exporting machine's file names and line numbers."""
    import torch

    full = io.BytesIO()
    torch.jit.save(module, full, _extra_files=extra)
    full.seek(0)
    reader = torch._C.PyTorchFileReader(full)
    out = io.BytesIO()
    writer = torch._C.PyTorchFileWriter(out)
    writer.set_min_version(int(reader.get_record("version")))
    for name in reader.get_all_records():
        if not name.endswith(".debug_pkl") and name not in ("version", "byteorder", ".data/serialization_id"):
            data = reader.get_record(name)
            writer.write_record(name, data, len(data))
    writer.write_end_of_file()
    return out.getvalue()


def metadata(unet, baked_dtype: str | None) -> dict:
    import diffusers
    import torch

    names = ["sample", "timestep", "class_labels"][: 3 if takes_class_labels(unet) else 2]
    shapes = [["B", unet.config.in_channels, "H", "W"], ["B"], ["B"]]
    return {
        "format": FORMAT,
        "formatVersion": FORMAT_VERSION,
        "torch": torch.__version__.split("+")[0],
        "diffusers": diffusers.__version__,
        "class": "UNet2DModel",
        "dtype": str(unet.dtype).removeprefix("torch."),
        "baked": {"device": None, "dtype": baked_dtype},
        "inputs": [{"name": name, "shape": shape} for name, shape in zip(names, shapes)],
    }


def write_atomically(file: Path, data: bytes) -> None:
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=file.parent, prefix=f".{file.name}.")
        try:
            with os.fdopen(handle, "wb") as stream:
                stream.write(data)
            os.chmod(temporary, 0o644)
            os.replace(temporary, file)
        except BaseException:
            os.unlink(temporary)
            raise
    except OSError as error:
        raise ExportError(f"{file} can't be written: {error.strerror}") from error


# --- checking it against diffusers ----------------------------------------------------------------------------------
def largest_error(actual, expected) -> float:
    scale = expected.double().abs().max().clamp_min(1e-12)
    return float((actual.double() - expected.double()).abs().max() / scale)


def check_on(data: bytes, unet, device: str, dtype_name: str) -> float | None:
    """The largest relative error over batches, sizes and both kinds of timestep; None where diffusers itself fails."""
    import torch

    eager = copy.deepcopy(unet).to(device, getattr(torch, dtype_name))
    exported = torch.jit.load(io.BytesIO(data), map_location="cpu").to(device, getattr(torch, dtype_name))
    if list(exported.state_dict()) != list(eager.state_dict()):
        raise ExportError("the export's weights have other names than diffusers'")
    cases = [(batch, *size) for batch in BATCHES for size in sizes_to_try(unet)[:2]]
    cases += [(1, *size) for size in sizes_to_try(unet)[2:]]
    worst = 0.0
    for case in cases:
        for fractional in (False, True):
            inputs = make_inputs(eager, *case, fractional=fractional)
            try:
                expected = eager(*inputs).sample
            except (RuntimeError, ValueError):
                if fractional:  # learned time embeddings take whole timesteps only
                    continue
                if dtype_name == "float32":
                    raise
                return None
            actual = exported(*inputs)
            if actual.dtype != expected.dtype or actual.device != expected.device:
                raise ExportError(f"the export gives {actual.dtype} on {actual.device} for {dtype_name} on {device}")
            worst = max(worst, largest_error(actual, expected))
    return worst


def check_no_device_fixed(data: bytes, unet) -> None:
    """Runs the export on the meta device, which no constant device agrees with."""
    import torch

    exported = torch.jit.load(io.BytesIO(data), map_location="cpu")
    for module in exported.modules():
        for name, tensor in [*module.named_parameters(recurse=False), *module.named_buffers(recurse=False)]:
            module._c.setattr(name, tensor.to("meta"))
    height, width = sizes_to_try(unet)[0]
    inputs = [x.to("meta") for x in make_inputs(unet, 3, height, width)]
    try:
        exported(*inputs)
    except RuntimeError as error:
        raise ExportError(f"a device is fixed in the export: {str(error).strip().splitlines()[-1]}") from error


def check(data: bytes, unet, dtypes: list[str], say) -> None:
    import torch

    with torch.no_grad():
        check_no_device_fixed(data, unet)
        for device in ("cpu", "cuda") if torch.cuda.is_available() else ("cpu",):
            for dtype in dtypes:
                tolerance = TOLERANCE[dtype]
                error = check_on(data, unet, device, dtype)
                if error is None:
                    say(f"{device} {dtype}: not checked, diffusers itself fails in it")
                elif not error <= tolerance:
                    where = f"on {device} in {dtype}"
                    raise ExportError(f"the export is {error:.1e} off diffusers {where}, more than {tolerance}")
                else:
                    say(f"{device} {dtype}: equal to diffusers within {error:.1e}")


def export(folder: Path, output: Path | None, say) -> Path:
    """Exports, checks and writes; returns the file."""
    import torch
    from diffusers.utils import logging

    logging.set_verbosity_error()
    source = find_unet(folder)
    config_text, _ = read_config(source)
    file = output or source / "unet.pt"
    if file.is_dir():
        raise ExportError(f"{file} is a folder; -o must name a file")
    unet = load_unet(source)
    module = trace(unet, torch.float32)
    baked_dtype = None
    try:
        free_dtypes(module, trace(unet, torch.float64))
    except DiffusersFails as error:
        baked_dtype = "float32"
        say(f"{error}; the export is for float32 alone")
    free_devices(module)
    about = json.dumps(metadata(unet, baked_dtype), indent=2)
    data = serialize(module, {"config.json": config_text, "metadata.json": about})
    check(data, unet, [baked_dtype] if baked_dtype else list(TOLERANCE), say)
    write_atomically(file, data)
    return file


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", metavar="FOLDER", type=Path, help="a diffusers pipeline's folder, or a UNet2DModel's")
    parser.add_argument("-o", "--output", metavar="FILE.pt", type=Path, help="default: unet.pt in the UNet's folder")
    args = parser.parse_args()
    try:
        file = export(args.folder, args.output, say=lambda line: print(line, file=sys.stderr))
    except ExportError as error:
        print(f"export_torchscript: {error}", file=sys.stderr)
        return 1
    except ImportError as error:
        print(f"export_torchscript: {error}; pip install -r scripts/requirements.txt", file=sys.stderr)
        return 1
    print(file)
    return 0


if __name__ == "__main__":
    sys.exit(main())
