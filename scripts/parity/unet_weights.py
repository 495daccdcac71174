"""Weights and inputs that any reader of the recordings draws again instead of storing them."""

import hashlib
import math

import torch

from common import generator

RULE = (
    "parameters in sorted-name order, one after the other from one generator with the case's seed: r = randn(shape); "
    "NAME.bias: 0.1 r; time_proj.weight of rank 1: 16 r; time_proj.weight of rank 2 and class_embedding.weight: r; "
    "other NAME.weight of rank 1: 0.1 r + 1; all others: r * (1 / sqrt(fan_in)), fan_in = entries / shape[0]"
)


def scaled(name: str, drawn: torch.Tensor) -> torch.Tensor:
    if name.endswith(".bias"):
        return drawn * 0.1
    if name == "time_proj.weight":
        return drawn * 16 if drawn.dim() == 1 else drawn
    if name == "class_embedding.weight":
        return drawn
    if drawn.dim() == 1:
        return drawn * 0.1 + 1
    return drawn * (1 / math.sqrt(drawn.numel() / drawn.shape[0]))


def draw_weights(model: torch.nn.Module, seed: int) -> dict:
    """Gives the model its weights, and returns what a reader needs: names and shapes in order, and their digest."""
    shapes = {name: list(value.shape) for name, value in sorted(model.state_dict().items())}
    g = generator(seed)
    state = {name: scaled(name, torch.randn(shape, generator=g)) for name, shape in shapes.items()}
    model.load_state_dict(state)
    digest = hashlib.sha256()
    for value in state.values():
        digest.update(value.contiguous().numpy().tobytes())
    return {"state": list(shapes.items()), "sha256": digest.hexdigest()}


def draw_inputs(in_channels: int, forward: dict, seed: int) -> tuple:
    """sample, timesteps and class labels (or None) of a recorded forward."""
    timestep = forward["timestep"]
    batch = len(timestep) if isinstance(timestep, list) else forward.get("batch", 2)
    g = generator(seed)
    sample = torch.randn([batch, in_channels, *forward["size"]], generator=g)
    fractional = any(isinstance(t, float) for t in (timestep if isinstance(timestep, list) else [timestep]))
    timesteps = torch.tensor(timestep, dtype=torch.float32 if fractional else torch.int64)
    labels = None
    if "labels" in forward:
        labels = torch.tensor(forward["labels"], dtype=torch.int64)
    elif "label_width" in forward:
        labels = torch.randn([batch, forward["label_width"]], generator=g)
    return sample, timesteps, labels
