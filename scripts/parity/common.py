"""What the recorders share: scheduler classes, seeded inputs, finiteness."""

import torch
from diffusers import DDIMInverseScheduler, DDIMScheduler, DDPMScheduler

SEED = 20240229
CLASSES = {c.__name__: c for c in (DDPMScheduler, DDIMScheduler, DDIMInverseScheduler)}

# 20 β of no particular schedule: rising, with a bump, none 0.
TRAINED_BETAS = [round(0.0015 * (i + 1) + (0.02 if i in (7, 8) else 0.0), 6) for i in range(20)]


def make(class_name: str, config: dict):
    return CLASSES[class_name](**config)


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def generators(seeds):
    """A seed gives a generator, a list of seeds a list of them, None none."""
    if seeds is None:
        return None
    return [generator(s) for s in seeds] if isinstance(seeds, list) else generator(seeds)


def finite(*tensors: torch.Tensor) -> bool:
    return all(bool(torch.isfinite(t).all()) for t in tensors)


class Inputs:
    """The tensors every step is fed with, drawn once per (shape, dtype) from a seeded generator."""

    SHAPES = {"square": (2, 3, 4, 4), "oblong": (3, 1, 5, 3)}

    def __init__(self, store):
        self.store = store
        self.cache: dict = {}

    def get(self, shape: str, dtype: torch.dtype, kind: str) -> torch.Tensor:
        """`sample` x_t, `output` of the model, `original` x_0 in [−1, 1], `noise`, `learned` and `learned_range` (the
        output with a variance half of the kind that the variance type wants)."""
        key = (shape, dtype, kind)
        if key not in self.cache:
            self.cache[key] = self._draw(self.SHAPES[shape], kind).to(dtype)
        return self.cache[key]

    def _draw(self, shape, kind: str) -> torch.Tensor:
        order = ["sample", "output", "original", "noise", "learned", "learned_range"]
        g = generator(SEED + order.index(kind) + 100 * len(shape) * shape[0])
        x = torch.randn(shape, generator=g)
        if kind == "original":
            return torch.tanh(x)
        if kind == "learned":
            return torch.cat([x, 0.05 * torch.randn(shape, generator=g).abs()], dim=1)
        if kind == "learned_range":
            return torch.cat([x, torch.tanh(torch.randn(shape, generator=g))], dim=1)
        return x
