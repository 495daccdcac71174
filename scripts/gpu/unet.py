"""diffusers' UNet2DModel for the two models measured, in plain PyTorch, for machines without diffusers.

Its parameters have diffusers' names and its forward launches the same operators. `python scripts/gpu/unet.py`, where
diffusers is installed, compares the two with the same weights.
"""

import math
import sys

import torch
import torch.nn.functional as F
from torch import nn

COMMON = dict(in_channels=3, out_channels=3, layers_per_block=2, downsample_padding=0, flip_sin_to_cos=False, freq_shift=1,
              norm_eps=1e-6, attention_head_dim=None)
PLAIN_DOWN, ATTENTION_DOWN, PLAIN_UP, ATTENTION_UP = "DownBlock2D", "AttnDownBlock2D", "UpBlock2D", "AttnUpBlock2D"
# google/ddpm-cifar10-32 and google/ddpm-church-256, with the millions of parameters that they have.
CONFIGS = {
    "cifar10": dict(COMMON, sample_size=32, block_out_channels=(128, 256, 256, 256),
                    down_block_types=(PLAIN_DOWN, ATTENTION_DOWN, PLAIN_DOWN, PLAIN_DOWN),
                    up_block_types=(PLAIN_UP, PLAIN_UP, ATTENTION_UP, PLAIN_UP)),
    "church": dict(COMMON, sample_size=256, block_out_channels=(128, 128, 256, 256, 512, 512),
                   down_block_types=(PLAIN_DOWN,) * 4 + (ATTENTION_DOWN, PLAIN_DOWN),
                   up_block_types=(PLAIN_UP, ATTENTION_UP) + (PLAIN_UP,) * 4),
}
MILLIONS = {"cifar10": 35.746, "church": 113.673}
GROUPS = 32


def norm(channels, config):
    return nn.GroupNorm(GROUPS, channels, eps=config["norm_eps"])


class TimeEmbedding(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.channels = channels
        self.linear_1 = nn.Linear(channels, 4 * channels)
        self.linear_2 = nn.Linear(4 * channels, 4 * channels)

    def forward(self, timesteps, freq_shift):
        half = self.channels // 2
        exponent = -math.log(10000) * torch.arange(half, dtype=torch.float32, device=timesteps.device) / (half - freq_shift)
        angle = timesteps[:, None].float() * exponent.exp()[None, :]
        encoding = torch.cat([angle.sin(), angle.cos()], dim=-1).to(self.linear_1.weight.dtype)
        return self.linear_2(F.silu(self.linear_1(encoding)))


class ResnetBlock(nn.Module):
    def __init__(self, inner, outer, time_width, config):
        super().__init__()
        self.norm1, self.conv1 = norm(inner, config), nn.Conv2d(inner, outer, 3, padding=1)
        self.time_emb_proj = nn.Linear(time_width, outer)
        self.norm2, self.conv2 = norm(outer, config), nn.Conv2d(outer, outer, 3, padding=1)
        self.conv_shortcut = nn.Conv2d(inner, outer, 1) if inner != outer else None

    def forward(self, x, time):
        h = self.conv1(F.silu(self.norm1(x))) + self.time_emb_proj(F.silu(time))[:, :, None, None]
        h = self.conv2(F.silu(self.norm2(h)))
        return (x if self.conv_shortcut is None else self.conv_shortcut(x)) + h


class Attention(nn.Module):
    """One head: attention_head_dim is None."""

    def __init__(self, channels, config):
        super().__init__()
        self.group_norm = norm(channels, config)
        self.to_q, self.to_k, self.to_v = (nn.Linear(channels, channels) for _ in range(3))
        self.to_out = nn.ModuleList([nn.Linear(channels, channels)])

    def forward(self, x):
        batch, channels, height, width = x.shape
        rows = self.group_norm(x.view(batch, channels, height * width)).transpose(1, 2)
        q, k, v = (layer(rows)[:, None] for layer in (self.to_q, self.to_k, self.to_v))
        rows = self.to_out[0](F.scaled_dot_product_attention(q, k, v)[:, 0])
        return x + rows.transpose(-1, -2).reshape(batch, channels, height, width)


class Sampler(nn.Module):
    """A convolution to half or, after nearest neighbours, twice the height."""

    def __init__(self, channels, up):
        super().__init__()
        self.up = up
        self.conv = nn.Conv2d(channels, channels, 3, stride=1 if up else 2, padding=1 if up else 0)

    def forward(self, x):
        return self.conv(F.interpolate(x, scale_factor=2.0, mode="nearest") if self.up else F.pad(x, (0, 1, 0, 1)))


class Block(nn.Module):
    """The layers of one height; `inner` are their inputs' channels."""

    def __init__(self, inner, outer, attends, time_width, config, down=False, up=False):
        super().__init__()
        self.resnets = nn.ModuleList(ResnetBlock(channels, outer, time_width, config) for channels in inner)
        self.attentions = nn.ModuleList(Attention(outer, config) for _ in inner) if attends else None
        self.downsamplers = nn.ModuleList([Sampler(outer, up=False)]) if down else None
        self.upsamplers = nn.ModuleList([Sampler(outer, up=True)]) if up else None

    def layer(self, index, x, time):
        x = self.resnets[index](x, time)
        return x if self.attentions is None else self.attentions[index](x)


class Middle(nn.Module):
    def __init__(self, channels, time_width, config):
        super().__init__()
        self.resnets = nn.ModuleList(ResnetBlock(channels, channels, time_width, config) for _ in range(2))
        self.attentions = nn.ModuleList([Attention(channels, config)])

    def forward(self, x, time):
        return self.resnets[1](self.attentions[0](self.resnets[0](x, time)), time)


class UNet(nn.Module):
    def __init__(self, name):
        super().__init__()
        config = self.settings = CONFIGS[name]
        widths, layers = config["block_out_channels"], config["layers_per_block"]
        time_width, last = 4 * widths[0], len(widths) - 1
        self.conv_in = nn.Conv2d(3, widths[0], 3, padding=1)
        self.time_embedding = TimeEmbedding(widths[0])
        self.down_blocks, self.up_blocks = nn.ModuleList(), nn.ModuleList()
        for i, outer in enumerate(widths):
            inner = [widths[max(i - 1, 0)]] + [outer] * (layers - 1)
            attends = config["down_block_types"][i] == ATTENTION_DOWN
            self.down_blocks.append(Block(inner, outer, attends, time_width, config, down=i != last))
        self.mid_block = Middle(widths[-1], time_width, config)
        before = widths[-1]
        for i, outer in enumerate(reversed(widths)):
            skips = [outer] * layers + [widths[max(last - i - 1, 0)]]
            inner = [skip + (before if j == 0 else outer) for j, skip in enumerate(skips)]
            attends = config["up_block_types"][i] == ATTENTION_UP
            self.up_blocks.append(Block(inner, outer, attends, time_width, config, up=i != last))
            before = outer
        self.conv_norm_out, self.conv_out = norm(widths[0], config), nn.Conv2d(widths[0], 3, 3, padding=1)

    def forward(self, x, timesteps):
        time = self.time_embedding(timesteps, self.settings["freq_shift"])
        x = self.conv_in(x)
        skips = [x]
        for block in self.down_blocks:
            for index in range(len(block.resnets)):
                x = block.layer(index, x, time)
                skips.append(x)
            if block.downsamplers is not None:
                x = block.downsamplers[0](x)
                skips.append(x)
        x = self.mid_block(x, time)
        for block in self.up_blocks:
            for index in range(len(block.resnets)):
                x = block.layer(index, torch.cat([x, skips.pop()], dim=1), time)
            if block.upsamplers is not None:
                x = block.upsamplers[0](x)
        return self.conv_out(F.silu(self.conv_norm_out(x)))


class OfDiffusers(nn.Module):
    """(sample, timesteps) → the predicted tensor alone."""

    def __init__(self, name):
        super().__init__()
        from diffusers import UNet2DModel

        self.unet = UNet2DModel(**CONFIGS[name])

    def forward(self, x, timesteps):
        return self.unet(x, timesteps, return_dict=False)[0]


def random_unet(name):
    """With random weights, and where it comes from: diffusers if it is installed."""
    torch.manual_seed(0)
    try:
        model, source = OfDiffusers(name), "diffusers"
    except ImportError:
        model, source = UNet(name), "plain torch"
    millions = sum(parameter.numel() for parameter in model.parameters()) / 1e6
    if abs(millions - MILLIONS[name]) > 0.001:
        raise RuntimeError(f"{name} has {millions:.3f}M parameters, wanted {MILLIONS[name]}M")
    return model.eval().requires_grad_(False), source


def main():
    from diffusers import UNet2DModel

    worst = 0.0
    for name in CONFIGS:
        theirs, ours = UNet2DModel(**CONFIGS[name]).eval(), UNet(name).eval()
        ours.load_state_dict(theirs.state_dict())
        size = 32
        x, timesteps = torch.randn(2, 3, size, size), torch.tensor([3, 421])
        with torch.no_grad():
            wanted, got = theirs(x, timesteps, return_dict=False)[0], ours(x, timesteps)
        error = ((got - wanted).norm() / wanted.norm()).item()
        print(f"{name}: {sum(p.numel() for p in ours.parameters()) / 1e6:.3f}M parameters, relative difference {error:.1e}")
        worst = max(worst, error)
    return 0 if worst < 1e-5 else 1


if __name__ == "__main__":
    sys.exit(main())
