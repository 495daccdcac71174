"""β and ᾱ tables, and the timesteps of every spacing."""

import torch

from common import TRAINED_BETAS, finite, make
from diffusers import DDIMInverseScheduler

SCHEDULES = ["linear", "scaled_linear", "squaredcos_cap_v2", "sigmoid", "laplace"]
STEPS = [1, 2, 3, 4, 5, 6, 7, 9, 10, 11, 13, 17, 20, 25, 27, 30, 33, 49, 50, 64, 99, 100, 128, 137, 199, 250, 333, 400,
         499, 500, 501, 600, 667, 750, 999, 1000]


def record_tables(store) -> None:
    configs = []
    for T in (1000, 50, 1):
        for schedule in SCHEDULES:
            for zero_snr in (False, True):
                configs.append({"num_train_timesteps": T, "beta_schedule": schedule,
                                "rescale_betas_zero_snr": zero_snr})
    configs.append({"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"})
    configs.append({"beta_start": 0.01, "beta_end": 0.3, "num_train_timesteps": 64})
    configs.append({"num_train_timesteps": 4000, "beta_start": 0.000025, "beta_end": 0.005})
    configs.append({"trained_betas": TRAINED_BETAS, "num_train_timesteps": len(TRAINED_BETAS)})
    configs.append({"trained_betas": TRAINED_BETAS, "num_train_timesteps": len(TRAINED_BETAS),
                    "rescale_betas_zero_snr": True})

    cases, nonfinite = [], []
    for config in configs:
        classes = ["DDPMScheduler"]
        if config.get("beta_schedule") not in ("sigmoid", "laplace"):
            classes += ["DDIMScheduler", "DDIMInverseScheduler"]  # the other two schedules are DDPM's alone
        for name in classes:
            s = make(name, config)
            if not finite(s.betas, s.alphas_cumprod):
                nonfinite.append({"class": name, "config": config})
                continue
            case = {"class": name, "config": config, "betas": store.tensor(s.betas),
                    "alphas": store.tensor(s.alphas), "alphas_cumprod": store.tensor(s.alphas_cumprod)}
            if name == "DDIMScheduler":
                kept = make(name, {**config, "set_alpha_to_one": False})
                case["final_alpha_cumprod"] = [float(s.final_alpha_cumprod), float(kept.final_alpha_cumprod)]
            cases.append(case)
    store.add("tables", cases)
    store.add("nonfinite_tables", nonfinite)


def record_timesteps(store) -> None:
    cases = []
    for T, steps in ((1000, STEPS), (50, list(range(1, 51))), (1002, [3, 6, 8, 144]), (1, [1])):
        for offset in (0, 1):
            for spacing in ("leading", "trailing", "linspace"):
                if offset and spacing != "leading":
                    continue  # the others don't look at it; one case of each says so below
                for n in steps:
                    cases.append(timesteps_case(store, T, spacing, offset, n))
    cases += [timesteps_case(store, 1000, spacing, 3, 10) for spacing in ("trailing", "linspace", "leading")]
    store.add("timesteps", cases)


def timesteps_case(store, T: int, spacing: str, offset: int, n: int) -> dict:
    """DDPM and DDIM have one list; DDIMInverse its own (no linspace). `extra`: trailing's (n+1)-th entry, −1."""
    config = {"num_train_timesteps": T, "timestep_spacing": spacing, "steps_offset": offset}
    lists = []
    for name in ("DDPMScheduler", "DDIMScheduler"):
        s = make(name, config)
        s.set_timesteps(n)
        lists.append(s.timesteps.to(torch.int32))
    assert torch.equal(*lists)
    case = {"config": config, "n": n, "extra": len(lists[0]) > n, "timesteps": store.tensor(lists[0])}
    if case["extra"]:
        assert len(lists[0]) == n + 1 and int(lists[0][-1]) == -1
    if spacing != "linspace":
        inverse = DDIMInverseScheduler(**config)
        inverse.set_timesteps(n)
        case["inverse"] = store.tensor(inverse.timesteps.to(torch.int32))
    return case
