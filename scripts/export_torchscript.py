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
import warnings
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")

FORMAT, FORMAT_VERSION = "node-diffusers-unet", 1
BATCHES = (1, 2, 3, 16)
# How far the export may be from diffusers, relative to the largest output: rounding of another order of summation.
TOLERANCE = {"float32": 1e-5, "float64": 1e-12, "bfloat16": 2e-2}


class ExportError(Exception):
    """What stops an export, in words for its user."""


class DiffusersFails(ExportError):
    """diffusers itself can't run the UNet in a dtype; some of its variants are right in float32 only."""


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


# --- inputs ---------------------------------------------------------------------------------------------------------
def takes_class_labels(unet) -> bool:
    return unet.class_embedding is not None


def make_inputs(unet, batch: int, height: int, width: int, fractional: bool = False) -> tuple:
    """(sample, timestep [, class_labels]) in the UNet's dtype, on its device; the same ones for the same shape."""
    import torch

    rng = torch.Generator().manual_seed(batch)
    config, dtype = unet.config, unet.dtype
    sample = torch.randn(batch, config.in_channels, height, width, generator=rng, dtype=torch.float64).to(dtype)
    timestep = torch.randint(1, config.num_train_timesteps or 1000, (batch,), generator=rng)
    inputs = [sample, timestep.float() + 0.25 if fractional else timestep]
    if takes_class_labels(unet):
        if config.class_embed_type == "identity":
            width_of_embedding = unet.time_embedding.linear_2.out_features
            inputs.append(torch.randn(batch, width_of_embedding, generator=rng).to(dtype))
        else:
            inputs.append(torch.randint(0, config.num_class_embeds or 1000, (batch,), generator=rng))
    return tuple(x.to(unet.device) for x in inputs)


def sizes_to_try(unet) -> list[tuple[int, int]]:
    """Small, wide, and the model's own, all divisible by what its blocks halve."""
    unit = 2 ** (len(unet.config.block_out_channels) - 1)
    sizes = [(4 * unit, 4 * unit), (2 * unit, 6 * unit)]
    own = unet.config.sample_size
    if own is not None:
        sizes.append((own, own) if isinstance(own, int) else tuple(own))
    return sizes


# --- tracing --------------------------------------------------------------------------------------------------------
def trace(unet, dtype):
    """The trace of a copy in `dtype`, with a forward that gives the tensor alone. Its parameters keep their names."""
    import torch
    from diffusers import UNet2DModel

    if takes_class_labels(unet):

        class ExportedUNet2DModel(UNet2DModel):
            def forward(self, sample, timestep, class_labels):
                return super().forward(sample, timestep, class_labels, return_dict=False)[0]

    else:

        class ExportedUNet2DModel(UNet2DModel):
            def forward(self, sample, timestep):
                return super().forward(sample, timestep, return_dict=False)[0]

    # The type's name inside the file; a local class's own is no name TorchScript can write.
    ExportedUNet2DModel.__module__, ExportedUNet2DModel.__qualname__ = "diffusers", "UNet2DModel"
    exported = copy.deepcopy(unet).to(dtype)
    exported.__class__ = ExportedUNet2DModel
    height, width = sizes_to_try(unet)[1]
    with torch.no_grad(), warnings.catch_warnings():
        # The conditions that the tracer warns of are assertions, and choices that don't change the result.
        warnings.simplefilter("ignore", torch.jit.TracerWarning)
        try:
            inputs = make_inputs(exported, 2, height, width)
            return torch.jit.trace(exported, inputs, check_trace=False, _store_inputs=False)
        except (RuntimeError, ValueError) as error:
            reason = str(error).strip().splitlines()[-1]
            raise DiffusersFails(f"diffusers can't run this UNet in {dtype}: {reason}") from error


def methods(module):
    """(name, graph) of every method of every submodule; changing a graph changes the module."""
    for name, sub in module.named_modules():
        for method in sub._c._method_names():
            yield f"{name or 'the UNet'}.{method}", sub._c._get_method(method).graph


def constants(graph) -> list:
    return graph.findAllNodes("prim::Constant", True)


def tensor_in_scope(graph, where: str, floating: bool):
    """A tensor that the method gets, from which a constant's place can ask for the device or the dtype."""
    tensors = [v for v in list(graph.inputs())[1:] if v.type().kind() == "TensorType"]
    floats = [v for v in tensors if (v.type().scalarType() or "") in ("Float", "Double")]
    found = floats or ([] if floating else tensors)
    if not found:
        raise ExportError(f"{where} fixes a {'dtype' if floating else 'device'} and gets no tensor to take it from")
    return found[0]


def replace(graph, constant, kind: str, source, output_type) -> None:
    node = graph.create(kind, [source], 1)
    node.insertBefore(constant)
    node.output().setType(output_type)
    constant.output().replaceAllUsesWith(node.output())
    constant.destroy()


def free_devices(module) -> None:
    """Every constant device becomes that of a tensor in scope."""
    import torch

    for where, graph in methods(module):
        for node in constants(graph):
            if node.output().type().kind() == "DeviceObjType":
                source = tensor_in_scope(graph, where, floating=False)
                replace(graph, node, "prim::device", source, torch._C.DeviceObjType.get())


def free_dtypes(module, other) -> None:
    """Every constant that differs between the float32 and the float64 trace is the model's dtype; it becomes that of a
    tensor in scope."""
    import torch

    code = {torch.float32: 6, torch.float64: 7}
    for (where, graph), (_, other_graph) in zip(methods(module), methods(other), strict=True):
        nodes, other_nodes = constants(graph), constants(other_graph)
        if len(nodes) != len(other_nodes):
            raise ExportError(f"{where} does different things in float32 and float64")
        for node, twin in zip(nodes, other_nodes):
            value, twin_value = node.output().toIValue(), twin.output().toIValue()
            if isinstance(value, torch.Tensor):
                if value.dtype != twin_value.dtype or not torch.equal(value, twin_value):
                    raise ExportError(f"{where} holds a constant tensor that depends on the dtype")
            elif value != twin_value:
                if (value, twin_value) != (code[torch.float32], code[torch.float64]):
                    raise ExportError(f"{where} holds {value!r} in float32 and {twin_value!r} in float64")
                source = tensor_in_scope(graph, where, floating=True)
                replace(graph, node, "prim::dtype", source, torch._C.IntType.get())


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
