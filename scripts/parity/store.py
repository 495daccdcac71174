"""Tensors in one little-endian binary file, everything else in one JSON manifest that points into it."""

import hashlib
import json
import platform
from pathlib import Path

import diffusers
import numpy as np
import torch

NAMES = {
    torch.float32: "float32",
    torch.float64: "float64",
    torch.float16: "float16",
    torch.bfloat16: "bfloat16",
    torch.int32: "int32",
    torch.int64: "int64",
}


class Store:
    """Collects tensors (equal ones once) and sections, then writes `NAME.json` and `NAME.bin`."""

    def __init__(self, name: str, command: str, note: str):
        self.name = name
        self.sections: dict = {
            "about": note,
            "command": command,
            "versions": {
                "python": platform.python_version(),
                "torch": torch.__version__,
                "diffusers": diffusers.__version__,
                "numpy": np.__version__,
                "cpu_capability": torch.backends.cpu.get_cpu_capability(),
            },
            "layout": "tensors are [dtype, shape, byte offset] into the .bin file, little-endian, contiguous; "
            "float16 and bfloat16 are their raw 16 bits",
        }
        self.data = bytearray()
        self.seen: dict[bytes, int] = {}

    def tensor(self, value: torch.Tensor) -> list:
        """Stores `value`, and returns its reference for the manifest."""
        value = value.detach().contiguous()
        dtype = NAMES[value.dtype]
        bits = value.view(torch.int16) if value.dtype in (torch.float16, torch.bfloat16) else value
        raw = bits.numpy().astype(bits.numpy().dtype.newbyteorder("<")).tobytes()
        key = hashlib.sha256(raw).digest()
        if key not in self.seen:
            self.data += b"\0" * (-len(self.data) % 8)  # typed arrays want aligned offsets
            self.seen[key] = len(self.data)
            self.data += raw
        return [dtype, list(value.shape), self.seen[key]]

    def add(self, section: str, value) -> None:
        if section in self.sections:
            raise KeyError(section)
        self.sections[section] = value

    def write_manifest(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{self.name}.json").write_text(dump(self.sections), encoding="utf-8")

    def write(self, folder: Path) -> None:
        self.sections["binary"] = {"file": f"{self.name}.bin", "bytes": len(self.data)}
        self.write_manifest(folder)
        (folder / f"{self.name}.bin").write_bytes(bytes(self.data))


def dump(sections: dict) -> str:
    """JSON with one line per entry of a section, so that a diff of two recordings can be read."""
    lines = []
    for key, value in sections.items():
        if isinstance(value, list):
            body = ",\n".join("    " + json.dumps(entry, allow_nan=False) for entry in value)
            lines.append(f"  {json.dumps(key)}: [\n{body}\n  ]")
        else:
            lines.append(f"  {json.dumps(key)}: {json.dumps(value, allow_nan=False)}")
    return "{\n" + ",\n".join(lines) + "\n}\n"
