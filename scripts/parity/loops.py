"""Whole sampling loops of a model that both sides can compute: out = x · t / (t + 1), as in diffusers' own tests."""

import torch

from common import generators, make


def dummy_model(x: torch.Tensor, t: int) -> torch.Tensor:
    return x * t / (t + 1)


def deterministic_sample() -> torch.Tensor:
    """`dummy_sample_deter` of diffusers' scheduler tests: 4 × 3 × 8 × 8."""
    n = 4 * 3 * 8 * 8
    return (torch.arange(n).reshape(3, 8, 8, 4) / n).permute(3, 0, 1, 2)


def deterministic_noise() -> torch.Tensor:
    """`dummy_noise_deter` of the same: the numbers backwards."""
    n = 4 * 3 * 8 * 8
    return (torch.arange(n).flip(-1).reshape(3, 8, 8, 4) / n).permute(3, 0, 1, 2)


def loop(s, x: torch.Tensor, timesteps, keep=(), **options):
    """Runs the loop; returns the last sample and those after the steps in `keep`."""
    kept = {}
    for i, t in enumerate(timesteps):
        x = s.step(dummy_model(x, t), t, x, **options).prev_sample
        if i in keep:
            kept[str(i)] = x
    return x, kept


def record_loops(store) -> None:
    start = deterministic_sample()
    small = start[:2, :, :4, :4].contiguous()
    cases = []
    variants = [
        ("DDPMScheduler", {}, {}, 0),
        ("DDPMScheduler", {"variance_type": "fixed_large", "timestep_spacing": "trailing"}, {}, [1, 2]),
        ("DDPMScheduler", {"prediction_type": "v_prediction", "rescale_betas_zero_snr": True,
                           "timestep_spacing": "trailing"}, {}, 0),
        ("DDIMScheduler", {}, {"eta": 0.0}, None),
        ("DDIMScheduler", {"timestep_spacing": "linspace", "set_alpha_to_one": False}, {"eta": 0.0}, None),
        ("DDIMScheduler", {"prediction_type": "v_prediction", "timestep_spacing": "trailing",
                           "rescale_betas_zero_snr": True}, {"eta": 0.0}, None),
        ("DDIMScheduler", {"clip_sample": False, "beta_schedule": "scaled_linear"}, {"eta": 1.0}, 0),
        ("DDIMScheduler", {}, {"eta": 0.5, "use_clipped_model_output": True}, [1, 2]),
        ("DDIMScheduler", {"thresholding": True, "sample_max_value": 1.5}, {"eta": 0.0}, None),
        ("DDIMInverseScheduler", {"clip_sample": False}, {}, None),
        ("DDIMInverseScheduler", {"timestep_spacing": "trailing", "prediction_type": "sample",
                                  "set_alpha_to_one": False}, {}, None),
    ]
    for name, config, options, seeds in variants:
        for n in (1, 10, 50, 1000):
            s = make(name, config)
            s.set_timesteps(n)
            generator = {} if name == "DDIMInverseScheduler" else {"generator": generators(seeds)}
            keep = (n // 10, n // 2) if n > 1 else ()
            last, kept = loop(s, small, [int(t) for t in s.timesteps], keep, **options, **generator)
            assert torch.isfinite(last).all(), (name, config, n)
            cases.append({"class": name, "config": config, "n": n, "options": options, "seeds": seeds,
                          "start": store.tensor(small), "last": store.tensor(last),
                          "after": {i: store.tensor(x) for i, x in kept.items()}})
    store.add("loops", cases)


# diffusers' tests: file, test, what it expects of sum |x|.
def record_test_figures(store) -> None:
    base = {"num_train_timesteps": 1000, "beta_start": 0.0001, "beta_end": 0.02, "beta_schedule": "linear",
            "clip_sample": True}
    ddpm = base | {"variance_type": "fixed_small"}
    v = {"prediction_type": "v_prediction"}
    figures = [
        figure(store, "test_scheduler_ddpm.py: test_full_loop_no_noise", "DDPMScheduler", ddpm, 258.9606, seed=0),
        figure(store, "test_scheduler_ddpm.py: test_full_loop_with_v_prediction", "DDPMScheduler", ddpm | v, 202.0296,
               seed=0),
        figure(store, "test_scheduler_ddpm.py: test_full_loop_with_noise", "DDPMScheduler", ddpm, 387.9466, seed=0,
               start=998),
        figure(store, "test_scheduler_ddim.py: test_full_loop_no_noise", "DDIMScheduler", base, 172.0067, n=10),
        figure(store, "test_scheduler_ddim.py: test_full_loop_with_v_prediction", "DDIMScheduler", base | v, 52.5302,
               n=10),
        figure(store, "test_scheduler_ddim.py: test_full_loop_with_set_alpha_to_one", "DDIMScheduler",
               base | {"set_alpha_to_one": True, "beta_start": 0.01}, 149.8295, n=10),
        figure(store, "test_scheduler_ddim.py: test_full_loop_with_no_set_alpha_to_one", "DDIMScheduler",
               base | {"set_alpha_to_one": False, "beta_start": 0.01}, 149.0784, n=10),
        figure(store, "test_scheduler_ddim.py: test_full_loop_with_noise", "DDIMScheduler", base, 354.5418, n=10,
               start=8),
    ]
    store.add("test_figures", figures)
    s = make("DDIMScheduler", base | {"steps_offset": 1})
    s.set_timesteps(5)
    assert s.timesteps.tolist() == [801, 601, 401, 201, 1]


def figure(store, test, name, config, expected, *, n=None, seed=None, start=0) -> dict:
    s = make(name, config)
    if n is not None:
        s.set_timesteps(n)
    timesteps = s.timesteps[start:]
    x = deterministic_sample()
    if start:
        x = s.add_noise(x, deterministic_noise(), timesteps[:1])
    options = {} if seed is None else {"generator": generators(seed)}
    last, _ = loop(s, x, [int(t) for t in timesteps], **options)
    total = float(last.abs().sum())
    assert abs(total - expected) < 1e-2, (test, total, expected)
    return {"test": test, "class": name, "config": config, "n": n, "seed": seed, "start": start, "expected": expected,
            "sum": total, "last": store.tensor(last)}
