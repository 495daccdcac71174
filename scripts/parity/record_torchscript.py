"""Makes the TorchScript archives of the tests, and records what diffusers gives for one of them. From the repository's
root:

    pip install -r scripts/requirements.txt --extra-index-url https://download.pytorch.org/whl/cpu
    python scripts/parity/record_torchscript.py

Writes test/fixtures/torchscript. Two runs on one machine write the same bytes.
"""

import argparse
import io
import sys
import tempfile
from pathlib import Path
from typing import Dict, List, NamedTuple, Optional, Tuple

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "scripts"), str(Path(__file__).parent)]

import torch  # noqa: E402
from diffusers import UNet2DModel  # noqa: E402
from export_torchscript import export, serialize  # noqa: E402
from store import Store  # noqa: E402
from torch import Tensor, nn  # noqa: E402
from torchscript_trace import make_inputs  # noqa: E402

COMMAND = "python scripts/parity/record_torchscript.py"


class Point(NamedTuple):
    x: Tensor
    weight: float


class Echo(NamedTuple):
    tensor: Tensor
    integer: int
    number: float
    flag: bool
    text: str
    nothing: Optional[Tensor]
    tensors: List[Tensor]
    integers: List[int]
    numbers: List[float]
    nested: List[List[int]]
    pair: Tuple[Tensor, int]
    table: Dict[str, Tensor]
    counts: Dict[int, float]
    point: Point


class EveryType(nn.Module):
    """Every type of a schema in, changed a little, and out."""

    def forward(
        self,
        tensor: Tensor,
        integer: int,
        number: float,
        flag: bool,
        text: str,
        nothing: Optional[Tensor],
        tensors: List[Tensor],
        integers: List[int],
        numbers: List[float],
        nested: List[List[int]],
        pair: Tuple[Tensor, int],
        table: Dict[str, Tensor],
        counts: Dict[int, float],
        point: Point,
        scale: float = 2.0,
    ) -> Echo:
        doubled: Dict[str, Tensor] = {}
        for key, value in table.items():
            doubled[key] = value * scale
        return Echo(
            tensor * scale,
            integer + 1,
            number * scale,
            not flag,
            text + "!",
            nothing,
            [t * scale for t in tensors],
            [i + 1 for i in integers],
            [x * scale for x in numbers],
            [[i + 1 for i in row] for row in nested],
            (pair[0] * scale, pair[1] + 1),
            doubled,
            counts,
            Point(point.x * point.weight, point.weight + 1.0),
        )


class TakesDict(nn.Module):
    def forward(self, table: Dict[str, Tensor]) -> Tensor:
        return table["a"] - table["b"]


class Raises(nn.Module):
    def forward(self, x: Tensor, how: str) -> Tensor:
        if how == "raise":
            raise ValueError("the input is not to its taste")
        return x @ x


class Slow(nn.Module):
    """As long as one likes: `turns` products of a matrix with itself."""

    def forward(self, x: Tensor, turns: int) -> Tensor:
        for _ in range(turns):
            x = torch.tanh(x @ x)
        return x


class Plain(nn.Module):
    """A plain trace of it fixes device and dtype, as one of diffusers' UNets does."""

    def __init__(self, named_device: bool):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(3))
        self.named_device = named_device

    def forward(self, x: Tensor) -> Tensor:
        steps = torch.arange(3, device=x.device) if self.named_device else x
        return steps.to(dtype=self.weight.dtype) * self.weight + x


class Lookup(nn.Module):
    """A floating parameter, and a buffer of integers that no cast may touch."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.arange(4, dtype=torch.float32) / 8)
        self.register_buffer("index", torch.tensor([3, 1]))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.weight[self.index]


class NoForward(nn.Module):
    @torch.jit.export
    def encode(self, x: Tensor) -> Tensor:
        return x


class Probe(nn.Module):
    """A UNet's signature; channel 0 of the result is the timestep, channel 1 is 1 where that is int64."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))

    def forward(self, sample: Tensor, timestep: Tensor) -> Dict[str, Tensor]:
        out = sample * self.weight
        out[:, 0] += timestep[:, None, None]
        out[:, 1] += 1.0 if timestep.dtype == torch.int64 else 0.0
        return {"sample": out}


def write(folder: Path, name: str, module) -> None:
    for parameter in module.parameters():
        parameter.requires_grad_(False)
    (folder / f"{name}.pt").write_bytes(serialize(module.eval(), {}))


def tiny_unet(**config) -> UNet2DModel:
    torch.manual_seed(0)
    return UNet2DModel(
        **config,
        block_out_channels=(8,),
        norm_num_groups=4,
        layers_per_block=1,
        add_attention=False,
        down_block_types=("DownBlock2D",),
        up_block_types=("UpBlock2D",),
    ).eval()


def export_unet(unet: UNet2DModel, file: Path) -> None:
    with tempfile.TemporaryDirectory() as folder:
        unet.save_pretrained(folder)
        export(Path(folder), file, say=lambda line: None)


def record_unet(out: Path) -> None:
    """A class-conditional UNet through the exporter, and diffusers' own results for it."""
    unet = tiny_unet(sample_size=8, in_channels=2, out_channels=2, num_class_embeds=3)
    export_unet(unet, out / "tiny-unet.pt")
    store = Store("tiny-unet", COMMAND, "What diffusers gives for the UNet in tiny-unet.pt.")
    forwards = []
    for batch, fractional in ((1, False), (3, False), (2, True)):
        sample, timestep, labels = make_inputs(unet, batch, 8, 8, fractional)
        output = unet(sample, timestep, labels).sample
        tensors = {"sample": sample, "timestep": timestep, "classLabels": labels, "output": output}
        forwards.append({name: store.tensor(tensor) for name, tensor in tensors.items()})
    store.add("forwards", forwards)
    store.write(out)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=ROOT / "test/fixtures/torchscript")
    out = parser.parse_args().out
    out.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    scripted = {
        "every-type": EveryType(),
        "takes-dict": TakesDict(),
        "raises": Raises(),
        "slow": Slow(),
        "lookup": Lookup(),
        "no-forward": NoForward(),
        "probe": Probe(),
    }
    for name, module in scripted.items():
        write(out, name, torch.jit.script(module))
    write(out, "baked-device", torch.jit.trace(Plain(True), torch.randn(3), _store_inputs=False))
    write(out, "baked-dtype", torch.jit.trace(Plain(False), torch.randn(3), _store_inputs=False))
    plain = io.BytesIO()
    torch.save({"weight": torch.ones(2)}, plain)
    (out / "torch-save.pt").write_bytes(plain.getvalue())
    with torch.no_grad():
        record_unet(out)
        grey = tiny_unet(sample_size=32, in_channels=1, out_channels=1)
        export_unet(grey, out / "tiny-grey.pt")
        torch.save(grey.state_dict(), out / "tiny-grey-weights.bin")


if __name__ == "__main__":
    main()
