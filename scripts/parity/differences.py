"""What diffusers gives where this package means to differ: each entry is shown beside our value by a test."""

import torch
from diffusers import DDIMScheduler, DDPMScheduler

from common import TRAINED_BETAS, generator, make

F32 = torch.float32


def outcome(store, call) -> dict:
    """What a call gives: its error's type, or its tensors and whether they are finite."""
    try:
        value = call()
    except Exception as error:  # noqa: BLE001 - any failure is a finding here
        return {"error": type(error).__name__, "message": str(error).splitlines()[0][:160]}
    tensors = {"value": value} if isinstance(value, torch.Tensor) else {
        "prev_sample": value.prev_sample, "pred_original_sample": value.pred_original_sample}
    found: dict = {"finite": all(bool(torch.isfinite(t).all()) for t in tensors.values())}
    return found | {key: store.tensor(t) for key, t in tensors.items()}


def record_differences(store, inputs) -> None:
    sample, output = inputs.get("square", F32, "sample"), inputs.get("square", F32, "output")
    learned = inputs.get("square", F32, "learned")
    entries: dict = {"sample": store.tensor(sample), "model_output": store.tensor(output),
                     "learned_output": store.tensor(learned)}

    def step(name, config, t, n=None, out=output, timesteps=None, **options):
        def call():
            s = make(name, config)
            if timesteps is not None:
                s.set_timesteps(timesteps=timesteps)
            elif n is not None:
                s.set_timesteps(n)
            return s.step(out, t, sample, **options)
        return outcome(store, call) | {"class": name, "config": config, "n": n, "timesteps": timesteps, "t": t}

    ddpm, ddim = "DDPMScheduler", "DDIMScheduler"
    entries["fixed_large_log"] = step(ddpm, {"variance_type": "fixed_large_log"}, 500, 10, generator=generator(1))
    entries["fixed_large"] = step(ddpm, {"variance_type": "fixed_large"}, 500, 10, generator=generator(1))
    zero = {"rescale_betas_zero_snr": True, "timestep_spacing": "trailing", "clip_sample": False}
    entries["zero_snr_epsilon_ddim"] = step(ddim, zero, 999, 10)
    entries["zero_snr_epsilon_ddpm"] = step(ddpm, zero, 999, 10, generator=generator(1))
    entries["learned_plain_output"] = step(ddpm, {"variance_type": "learned"}, 500, 10, generator=generator(1))
    entries["learned_range_plain_output"] = step(ddpm, {"variance_type": "learned_range"}, 500, 10,
                                                 generator=generator(1))
    negative = torch.cat([learned[:, :3], -learned[:, 3:]], dim=1)
    entries["learned_negative"] = step(ddpm, {"variance_type": "learned"}, 500, 10, negative, generator=generator(1))
    entries["two_c_ddim"] = step(ddim, {}, 500, 10, learned)
    entries["plain_c_ddim"] = step(ddim, {}, 500, 10, learned[:, :3])
    entries["two_c_fixed_small"] = step(ddpm, {}, 500, 10, learned, generator=generator(1))
    entries["eta_two"] = step(ddim, {}, 900, 10, eta=2.0, generator=generator(1))
    entries["trained_betas_short"] = step(ddim, {"trained_betas": TRAINED_BETAS}, 900, 10)
    entries["trained_beta_zero"] = step(ddim, {"trained_betas": [0.0] + TRAINED_BETAS[1:], "num_train_timesteps": 20,
                                               "prediction_type": "sample"}, 0, 20)
    entries["clip_range_negative"] = step(ddim, {"clip_sample_range": -1.0}, 900, 10)
    entries["sample_max_negative"] = step(ddim, {"thresholding": True, "sample_max_value": -1.0}, 900, 10)
    entries["list_leaves_range"] = step(ddim, {"steps_offset": 1}, 1000, 1000)
    entries["negative_custom"] = step(ddpm, {}, -5, timesteps=[500, -5], generator=generator(1))
    entries["not_in_list"] = step(ddpm, {}, 555, 10, generator=generator(1))
    entries["before_set_timesteps"] = step(ddim, {}, 500)
    entries["zero_steps"] = step(ddim, {}, 0, 0)
    entries["empty_custom"] = step(ddpm, {}, 0, timesteps=[], generator=generator(1))
    entries["prediction_type_unknown"] = step(ddim, {"prediction_type": "nonsense"}, 900, 10)
    entries["both_noises"] = step(ddim, {}, 900, 10, eta=1.0, generator=generator(1), variance_noise=sample)
    entries["both_noises_eta_zero"] = step(ddim, {}, 900, 10, eta=0.0, generator=generator(1), variance_noise=sample)
    store.add("differences", entries)
    store.add("negative_remainder", negative_remainder(store, sample, output))
    store.add("previous", previous_rules())


def negative_remainder(store, sample, output) -> list:
    """DDIM with η = 1 where float32 makes 1 − ᾱ_s − σ² a hair below 0, and its root NaN."""
    found = []
    for config in ({"rescale_betas_zero_snr": True, "timestep_spacing": "trailing"},
                   {"rescale_betas_zero_snr": True, "timestep_spacing": "trailing", "beta_schedule": "scaled_linear"},
                   {"beta_schedule": "squaredcos_cap_v2", "timestep_spacing": "trailing"}):
        for n in range(1, 1001):
            s = make("DDIMScheduler", config | {"prediction_type": "v_prediction"})
            t, prev = 999, 999 - 1000 // n
            variance = s._get_variance(t, prev)
            bar = s.alphas_cumprod[prev] if prev >= 0 else s.final_alpha_cumprod
            rest = float(1 - bar - (1.0 * variance**0.5) ** 2)
            if rest < 0 and len(found) < 6:
                s.set_timesteps(n)
                out = s.step(output, t, sample, eta=1.0, generator=generator(1))
                found.append({"config": dict(config, prediction_type="v_prediction"), "n": n, "t": t, "remainder": rest,
                              "finite": bool(torch.isfinite(out.prev_sample).all()),
                              "pred_original_sample": store.tensor(out.pred_original_sample)})
    return found


def previous_rules() -> list:
    """DDIM's t − ⌊T/n⌋ beside the next entry of its own list (huggingface/diffusers#12633, #11347)."""
    found = []
    for T, spacing, n in ((1000, "linspace", 10), (1000, "trailing", 7), (1000, "trailing", 10), (1000, "leading", 7),
                          (1000, "linspace", 3), (50, "linspace", 4), (1000, "trailing", 11)):
        config = {"num_train_timesteps": T, "timestep_spacing": spacing}
        ddim, ddpm = DDIMScheduler(**config), DDPMScheduler(**config)
        ddim.set_timesteps(n)
        ddpm.set_timesteps(n)
        ts = [int(t) for t in ddim.timesteps]
        found.append({"config": config, "n": n, "timesteps": ts, "ddim": [t - T // n for t in ts],
                      "ddpm": [int(ddpm.previous_timestep(t)) for t in ts]})
    return found
