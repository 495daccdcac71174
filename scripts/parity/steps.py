"""Single steps of each scheduler over a thin grid that covers every pair of settings."""

import itertools
import random

import torch

from common import SEED, TRAINED_BETAS, finite, generators, make

F32, F64 = torch.float32, torch.float64

SHARED = {
    "beta": ["linear", "scaled_linear", "squaredcos_cap_v2", "trained", "steep"],
    "T": [1000, 50],
    "zero_snr": [False, True],
    "prediction": ["epsilon", "sample", "v_prediction"],
    "offset": [0, 1],
    "dtype": [F32, F64],
    "shape": ["square", "oblong"],
}
CLIPS = {
    "none": {"clip_sample": False},
    "one": {"clip_sample": True},
    "narrow": {"clip_sample": True, "clip_sample_range": 0.6},
    "threshold": {"thresholding": True},
    "threshold_wide": {"thresholding": True, "dynamic_thresholding_ratio": 0.9, "sample_max_value": 2.5},
}
AXES = {
    "DDPMScheduler": SHARED | {
        "beta": SHARED["beta"] + ["sigmoid", "laplace"],
        "spacing": ["leading", "trailing", "linspace", "custom", "unset"],
        "n": [1, 7, 10, 50],
        "variance": ["fixed_small", "fixed_small_log", "fixed_large", "learned", "learned_range"],
        "clip": list(CLIPS),
        "seeds": [7, ["a", "list"]],
    },
    "DDIMScheduler": SHARED | {
        "spacing": ["leading", "trailing", "linspace"],
        "n": [1, 7, 10, 50],
        "alpha_to_one": [True, False],
        "clip": list(CLIPS),
        "eta": [0.0, 0.5, 1.0],
        "clipped_output": [False, True],
        "seeds": [7, ["a", "list"]],
    },
    "DDIMInverseScheduler": SHARED | {
        "spacing": ["leading", "trailing"],
        "n": [1, 7, 10, 50],
        "alpha_to_one": [True, False],
        "clip": ["none", "one", "narrow"],
    },
}


def pairwise(axes: dict, rng: random.Random, strength: int) -> list[dict]:
    """Rows that hold every combination of values of any `strength` axes, greedily."""
    names = list(axes)
    groups = list(itertools.combinations(names, strength))
    wanted = {(group, values) for group in groups
              for values in itertools.product(*(range(len(axes[n])) for n in group))}
    rows = []
    while wanted:
        seed_group, seed_values = rng.choice(sorted(wanted, key=repr))
        best, best_gain = None, -1
        for _ in range(40):
            row = {n: rng.randrange(len(axes[n])) for n in names} | dict(zip(seed_group, seed_values))
            gain = sum((g, tuple(row[n] for n in g)) in wanted for g in groups)
            if gain > best_gain:
                best, best_gain = row, gain
        wanted -= {(g, tuple(best[n] for n in g)) for g in groups}
        rows.append({n: axes[n][i] for n, i in best.items()})
    return rows


def config_of(name: str, row: dict) -> dict:
    T = row["T"]
    config: dict = {"prediction_type": row["prediction"]}
    if row["beta"] == "trained":
        T = len(TRAINED_BETAS)
        config["trained_betas"] = TRAINED_BETAS
    elif row["beta"] == "steep":
        config |= {"beta_start": 0.001, "beta_end": 0.05}
    else:
        config["beta_schedule"] = row["beta"]
    config["num_train_timesteps"] = T
    if row["zero_snr"]:
        config["rescale_betas_zero_snr"] = True
    if row["offset"]:
        config["steps_offset"] = row["offset"]
    if row["spacing"] not in ("custom", "unset"):
        config["timestep_spacing"] = row["spacing"]
    config |= CLIPS[row["clip"]]
    if "variance" in row:
        config["variance_type"] = row["variance"]
    if not row.get("alpha_to_one", True):
        config["set_alpha_to_one"] = False
    return config


def set_timesteps(s, row: dict) -> dict:
    """Sets the list as the row says; returns what the manifest says of it."""
    T = s.config.num_train_timesteps
    if row["spacing"] == "unset":
        return {}
    if row["spacing"] == "custom":
        custom = sorted({0, 1, T // 7, T // 3, T // 2, T - 2, T - 1}, reverse=True)
        s.set_timesteps(timesteps=custom)
        return {"timesteps": custom}
    n = min(row["n"], T - row["offset"])  # T steps and an offset would leave [0, T)
    s.set_timesteps(n)
    return {"n": n}


def visited(s, row: dict) -> list[int]:
    """First, second, middle and the last two timesteps of the list, those in [0, T)."""
    T = s.config.num_train_timesteps
    ts = [int(t) for t in s.timesteps if 0 <= int(t) < T]
    if row["spacing"] == "unset":
        return sorted({T - 1, T // 2, 2, 1, 0}, reverse=True)
    return [ts[i] for i in sorted({0, 1 % len(ts), len(ts) // 2, (len(ts) - 2) % len(ts), len(ts) - 1})]


def record_group(store, inputs, name: str, row: dict, nonfinite: list) -> dict | None:
    config = config_of(name, row)
    s = make(name, config)
    if not finite(s.betas, s.alphas_cumprod):
        return None
    set_by = set_timesteps(s, row)
    shape, dtype = row["shape"], row["dtype"]
    kind = row["variance"] if row.get("variance", "").startswith("learned") else "output"
    sample, output = inputs.get(shape, dtype, "sample"), inputs.get(shape, dtype, kind)
    seeds = row.get("seeds")
    if isinstance(seeds, list):
        seeds = list(range(11, 11 + sample.shape[0]))
    group = {"class": name, "config": config, "set": set_by, "sample": store.tensor(sample),
             "model_output": store.tensor(output), "steps": []}
    options: dict = {}
    if name == "DDIMScheduler":
        options = {"eta": row["eta"], "use_clipped_model_output": row["clipped_output"]}
        group["options"] = options
    if name != "DDIMInverseScheduler":
        group["seeds"] = seeds
    for t in visited(s, row):
        extra = {} if name == "DDIMInverseScheduler" else {"generator": generators(seeds)}
        out = s.step(output, t, sample, **options, **extra)
        if not finite(out.prev_sample, out.pred_original_sample):
            nonfinite.append({k: v for k, v in group.items() if k != "steps"} | {"t": t})
            continue
        group["steps"].append({"t": t, "prev_sample": store.tensor(out.prev_sample),
                               "pred_original_sample": store.tensor(out.pred_original_sample)})
    return group if group["steps"] else None


def record_steps(store, inputs) -> None:
    rng = random.Random(SEED)
    groups, nonfinite = [], []
    for name, axes in AXES.items():
        rows = pairwise(axes, rng, 2)
        if name != "DDIMInverseScheduler":
            rows += pairwise(axes, rng, 2)
        # Thinner where it costs nothing to trust: float64 takes the same path, keep a third of it.
        for i, row in enumerate(rows):
            if row["dtype"] is F64 and i % 3:
                row["dtype"] = F32
            group = record_group(store, inputs, name, row, nonfinite)
            if group is not None:
                groups.append(group)
    groups += half_groups(store, inputs)
    store.add("steps", groups)
    store.add("nonfinite_steps", nonfinite)
    store.add("step_count", sum(len(g["steps"]) for g in groups))


def half_groups(store, inputs) -> list:
    """A few steps in the half types: diffusers rounds after every operation there, so only the coarse value counts."""
    groups = []
    for dtype in (torch.float16, torch.bfloat16):
        for name in ("DDPMScheduler", "DDIMScheduler", "DDIMInverseScheduler"):
            for clip in ("none", "one"):
                row = {"beta": "linear", "T": 1000, "zero_snr": False, "prediction": "v_prediction", "offset": 0,
                       "dtype": dtype, "shape": "square", "spacing": "leading", "n": 10, "clip": clip}
                if name == "DDPMScheduler":
                    row |= {"variance": "fixed_small", "seeds": 7}
                elif name == "DDIMScheduler":
                    row |= {"eta": 0.5, "clipped_output": False, "seeds": 7}
                groups.append(record_group(store, inputs, name, row, []))
    return groups
