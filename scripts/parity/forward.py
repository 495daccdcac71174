"""The forward process, velocities, and a timestep per sample (which diffusers does one sample at a time)."""

import torch

from common import generator, generators, make
from steps import CLIPS


def record_forward(store, inputs) -> None:
    cases = []
    configs = [
        ("DDPMScheduler", {}),
        ("DDIMScheduler", {"beta_schedule": "squaredcos_cap_v2"}),
        ("DDPMScheduler", {"beta_schedule": "scaled_linear", "rescale_betas_zero_snr": True}),
    ]
    for name, config in configs:
        s = make(name, config)
        for shape in ("square", "oblong"):
            for dtype in (torch.float32, torch.float64, torch.float16, torch.bfloat16):
                x0, noise = inputs.get(shape, dtype, "original"), inputs.get(shape, dtype, "noise")
                batch = x0.shape[0]
                for ts in ([500], list(range(100, 900, 800 // batch))[:batch], [0, 999, 1][:batch]):
                    t = torch.tensor(ts)
                    cases.append({
                        "class": name, "config": config, "timesteps": ts, "original": store.tensor(x0),
                        "noise": store.tensor(noise), "noisy": store.tensor(s.add_noise(x0, noise, t)),
                        "velocity": store.tensor(s.get_velocity(x0, noise, t)),
                    })
    store.add("forward", cases)


def record_per_sample(store, inputs) -> None:
    """One row per sample: its own t, η and jump, recorded as calls of batch one."""
    sample, output = inputs.get("oblong", torch.float32, "sample"), inputs.get("oblong", torch.float32, "output")
    cases = []
    for clip in ("none", "one", "threshold_wide"):
        for prediction in ("epsilon", "sample", "v_prediction"):
            config = {"prediction_type": prediction} | CLIPS[clip]
            # A jump t → t − k is diffusers' own stride for n = T // k steps.
            rows = [{"t": 999, "n": 10, "eta": 0.0, "seed": 3}, {"t": 501, "n": 4, "eta": 1.0, "seed": 4},
                    {"t": 1, "n": 1000, "eta": 0.3, "seed": 5}]
            cases.append(ddim_rows(store, config, sample, output, rows))
            rows = [{"t": 0, "n": 100, "eta": 0.7, "seed": 3}, {"t": 40, "n": 25, "eta": 0.0, "seed": 4},
                    {"t": 777, "n": 142, "eta": 1.0, "seed": 5}]
            cases.append(ddim_rows(store, config, sample, output, rows))
            for variance in ("fixed_small", "fixed_large", "learned_range"):
                model = inputs.get("oblong", torch.float32, "learned_range") if variance == "learned_range" else output
                rows = [{"t": 999, "s": 899, "seed": 3}, {"t": 0, "s": -1, "seed": 4}, {"t": 333, "s": 20, "seed": 5}]
                cases.append(ddpm_rows(store, config | {"variance_type": variance}, sample, model, rows))
    store.add("per_sample", cases)


def ddim_rows(store, config, sample, output, rows) -> dict:
    prev, x0 = [], []
    for i, row in enumerate(rows):
        s = make("DDIMScheduler", config)
        s.set_timesteps(row["n"])
        row["s"] = max(-1, row["t"] - 1000 // row["n"])
        out = s.step(output[i:i + 1], row["t"], sample[i:i + 1], eta=row["eta"], generator=generator(row["seed"]))
        prev.append(out.prev_sample)
        x0.append(out.pred_original_sample)
    return packed(store, "DDIMScheduler", config, sample, output, rows, prev, x0)


def ddpm_rows(store, config, sample, output, rows) -> dict:
    prev, x0 = [], []
    for i, row in enumerate(rows):
        s = make("DDPMScheduler", config)
        s.set_timesteps(timesteps=[row["t"]] + ([row["s"]] if row["s"] >= 0 else []))
        out = s.step(output[i:i + 1], row["t"], sample[i:i + 1], generator=generators([row["seed"]]))
        prev.append(out.prev_sample)
        x0.append(out.pred_original_sample)
    return packed(store, "DDPMScheduler", config, sample, output, rows, prev, x0)


def packed(store, name, config, sample, output, rows, prev, x0) -> dict:
    return {
        "class": name, "config": config, "sample": store.tensor(sample), "model_output": store.tensor(output),
        "rows": rows, "prev_sample": store.tensor(torch.cat(prev)), "pred_original_sample": store.tensor(torch.cat(x0)),
    }
