"""Whole runs of tiny UNets: real pipelines, and classifier-free guidance as diffusers' DiTPipeline does it."""

import json

import numpy as np
import torch
from diffusers import DDIMPipeline, DDIMScheduler, DDPMPipeline, DDPMScheduler, UNet2DModel

from common import generators
from unet_cases import BASE, ATTENTION, PLAIN, RESNET, mirrored
from unet_weights import draw_weights

# With random weights, ε-prediction and the default betas, x_0 = (x - …ε) / sqrt(ᾱ_T) makes a rounding error 160 times as
# large in 10 steps; v-prediction, and betas that leave ᾱ_T = 0.35, keep it.
MILD = {"beta_end": 0.002, "clip_sample": False}
RUNS = [
    {"name": "DDIM, v-prediction", "pipeline": "DDIMPipeline", "batch_size": 2, "seeds": [11, 12],
     "unet": {"sample_size": 16} | mirrored(PLAIN, ATTENTION), "scheduler": {"prediction_type": "v_prediction"},
     "options": {"num_inference_steps": 10, "eta": 0.0}},
    {"name": "DDIM, epsilon, eta 0.5", "pipeline": "DDIMPipeline", "batch_size": 2, "seeds": [16, 17],
     "unet": {"sample_size": 8} | mirrored(RESNET, ATTENTION), "scheduler": MILD,
     "options": {"num_inference_steps": 10, "eta": 0.5}},
    {"name": "DDIM, epsilon", "pipeline": "DDIMPipeline", "batch_size": 2, "seeds": [18, 19],
     "unet": {"sample_size": 8} | mirrored(PLAIN, ATTENTION), "scheduler": MILD,
     "options": {"num_inference_steps": 10, "eta": 0.0}},
    {"name": "DDPM, not square", "pipeline": "DDPMPipeline", "batch_size": 2, "seeds": [13, 14],
     "unet": {"sample_size": [8, 16]} | mirrored(RESNET, ATTENTION), "scheduler": {},
     "options": {"num_inference_steps": 10}},
]
KEPT_STEPS = (1, 5)
CLASSES, GUIDANCE_SCALE = 4, 3.0


def make_unet(config: dict, seed: int) -> tuple:
    model = UNet2DModel(**(BASE | config)).eval()
    weights = draw_weights(model, seed)
    return model, {"seed": seed, "config": json.loads(model.to_json_string())} | weights


def record_pipeline(store, run: dict, seed: int) -> dict:
    classes = {"DDIMPipeline": (DDIMPipeline, DDIMScheduler), "DDPMPipeline": (DDPMPipeline, DDPMScheduler)}
    pipeline, scheduler = classes[run["pipeline"]]
    unet, model = make_unet(run["unet"], seed)
    pipe = pipeline(unet=unet, scheduler=scheduler(**run["scheduler"]))
    pipe.set_progress_bar_config(disable=True)
    latents = []
    step = pipe.scheduler.step

    def watched(*args, **kwargs):
        out = step(*args, **kwargs)
        latents.append(out.prev_sample.clone())
        return out

    pipe.scheduler.step = watched
    images = pipe(batch_size=run["batch_size"], generator=generators(run["seeds"]), output_type="np",
                  **run["options"]).images
    kept = {str(n): store.tensor(latents[n - 1]) for n in (*KEPT_STEPS, len(latents))}
    return {key: value for key, value in run.items() if key != "unet"} | {
        "model": model, "latents_after": kept, "images": store.tensor(torch.from_numpy(np.asarray(images))),
    }


def record_guidance(store, seed: int) -> dict:
    """ε = ε_uncond + s·(ε_cond − ε_uncond); the last class is the null class."""
    unet, model = make_unet({"sample_size": 8, "num_class_embeds": CLASSES + 1} | mirrored(PLAIN, ATTENTION), seed)
    scheduler = DDIMScheduler(**MILD)
    scheduler.set_timesteps(10)
    labels = torch.tensor([0, 3])
    batch = len(labels)
    latents = torch.randn([batch, 3, 8, 8], generator=generators(15))
    both_labels = torch.cat([labels, torch.full([batch], CLASSES)])
    for t in scheduler.timesteps:
        conditional, unconditional = unet(torch.cat([latents, latents]), t, both_labels).sample.chunk(2)
        output = unconditional + GUIDANCE_SCALE * (conditional - unconditional)
        latents = scheduler.step(output, t, latents, eta=0.0).prev_sample
    return {"model": model, "seed": 15, "labels": labels.tolist(), "null_class": CLASSES, "scale": GUIDANCE_SCALE,
            "scheduler": MILD, "num_inference_steps": 10, "latents": store.tensor(latents)}


def record_runs(store, seed: int) -> None:
    store.add("runs", [record_pipeline(store, run, seed + 100 * i) for i, run in enumerate(RUNS)])
    store.add("guidance", record_guidance(store, seed + 100 * len(RUNS)))
