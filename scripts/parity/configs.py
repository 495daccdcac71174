"""scheduler_config.json files as diffusers saves them, and as it saves a scheduler made from another's config."""

import json
from pathlib import Path

import diffusers
from diffusers import DDIMInverseScheduler, DDIMScheduler, DDPMScheduler

from common import TRAINED_BETAS

ODD_DDPM = {"num_train_timesteps": 20, "trained_betas": TRAINED_BETAS, "variance_type": "learned_range",
            "clip_sample": False, "thresholding": True, "sample_max_value": 1.5, "timestep_spacing": "trailing",
            "steps_offset": 1, "prediction_type": "v_prediction"}
ODD_DDIM = {"num_train_timesteps": 500, "beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear",
            "clip_sample": False, "set_alpha_to_one": False, "steps_offset": 1, "clip_sample_range": 2.0,
            "rescale_betas_zero_snr": True, "timestep_spacing": "linspace"}
ODD_INVERSE = {"num_train_timesteps": 500, "beta_schedule": "squaredcos_cap_v2", "set_alpha_to_one": False,
               "clip_sample": False, "timestep_spacing": "trailing"}


def record_configs(folder: Path) -> None:
    made = {
        "ddpm-default": DDPMScheduler(), "ddim-default": DDIMScheduler(),
        "ddim-inverse-default": DDIMInverseScheduler(),
        "ddpm-odd": DDPMScheduler(**ODD_DDPM), "ddim-odd": DDIMScheduler(**ODD_DDIM),
        "ddim-inverse-odd": DDIMInverseScheduler(**ODD_INVERSE),
    }
    for name, scheduler in made.items():
        scheduler.save_pretrained(folder / name)
    crossed = []
    for source in ("ddpm-odd", "ddim-odd", "ddim-inverse-odd"):
        for target in (DDPMScheduler, DDIMScheduler, DDIMInverseScheduler):
            if not isinstance(made[source], target):
                crossed.append(f"{source}-as-{target.__name__}")
                target.from_pretrained(folder / source).save_pretrained(folder / crossed[-1])
    note = {
        "about": "Each folder's scheduler_config.json was written by diffusers' save_pretrained; X-as-Y is "
        "Y.from_pretrained(X).",
        "command": "python scripts/parity/record.py",
        "versions": {"diffusers": diffusers.__version__},
        "folders": sorted([*made, *crossed]),
    }
    (folder / "configs.json").write_text(json.dumps(note, indent=2) + "\n", encoding="utf-8")
