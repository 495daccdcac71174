"""Whole pipelines and lone forwards of the embedded model, as float images (NHWC in [0, 1])."""

from pathlib import Path

import torch
from diffusers import DDIMPipeline, DDIMScheduler, DDPMPipeline, DDPMScheduler, UNet2DModel

from common import generator, generators

RUNS = [
    {"name": "ddim 10 steps, a generator per image", "pipeline": "DDIMPipeline", "seeds": [0, 1], "batch_size": 2,
     "options": {"num_inference_steps": 10, "eta": 0.0}},
    {"name": "ddim eta 0.5, one generator", "pipeline": "DDIMPipeline", "seeds": 3, "batch_size": 2,
     "options": {"num_inference_steps": 10, "eta": 0.5}},
    {"name": "ddim eta 1, clipped output", "pipeline": "DDIMPipeline", "seeds": [4], "batch_size": 1,
     "options": {"num_inference_steps": 8, "eta": 1.0, "use_clipped_model_output": True}},
    {"name": "ddim trailing", "pipeline": "DDIMPipeline", "seeds": 5, "batch_size": 1,
     "config": {"timestep_spacing": "trailing"}, "options": {"num_inference_steps": 7, "eta": 0.0}},
    {"name": "ddim linspace, stride as diffusers steps", "pipeline": "DDIMPipeline", "seeds": 6, "batch_size": 1,
     "config": {"timestep_spacing": "linspace"}, "options": {"num_inference_steps": 6, "eta": 0.0}},
    {"name": "ddim no clipping", "pipeline": "DDIMPipeline", "seeds": [7, 8], "batch_size": 2,
     "config": {"clip_sample": False}, "options": {"num_inference_steps": 10, "eta": 0.0}},
    {"name": "ddim 50 steps", "pipeline": "DDIMPipeline", "seeds": [0], "batch_size": 1,
     "options": {"num_inference_steps": 50, "eta": 0.0}},
    {"name": "ddpm 20 steps", "pipeline": "DDPMPipeline", "seeds": [0, 1], "batch_size": 2,
     "options": {"num_inference_steps": 20}},
    {"name": "ddpm one generator", "pipeline": "DDPMPipeline", "seeds": 2, "batch_size": 2,
     "options": {"num_inference_steps": 12}},
    {"name": "ddpm fixed_large, trailing", "pipeline": "DDPMPipeline", "seeds": [3], "batch_size": 1,
     "config": {"variance_type": "fixed_large", "timestep_spacing": "trailing"},
     "options": {"num_inference_steps": 10}},
]


def record_pipelines(store, folder: Path) -> None:
    unet = UNet2DModel.from_pretrained(folder, subfolder="unet")
    base = DDPMScheduler.from_pretrained(folder, subfolder="scheduler")
    classes = {"DDIMPipeline": (DDIMPipeline, DDIMScheduler), "DDPMPipeline": (DDPMPipeline, DDPMScheduler)}
    cases = []
    for run in RUNS:
        pipeline, scheduler = classes[run["pipeline"]]
        pipe = pipeline(unet=unet, scheduler=scheduler.from_config(base.config, **run.get("config", {})))
        pipe.set_progress_bar_config(disable=True)
        images = pipe(batch_size=run["batch_size"], generator=generators(run["seeds"]), output_type="np",
                      **run["options"]).images
        cases.append({"config": {}} | run | {"images": store.tensor(torch.from_numpy(images))})
    store.add("model", "models/fashion-mnist-ddpm")
    store.add("runs", cases)
    store.add("forwards", [forward(store, unet, batch, t) for batch, t in
                           ((1, 0), (1, 500), (1, 999), (3, [0, 421, 999]), (2, 17.5))])


def forward(store, unet, batch: int, t) -> dict:
    """One forward; an integer t goes in as int64, a fraction as float32."""
    sample = torch.randn((batch, 1, 32, 32), generator=generator(100 + batch))
    timestep = torch.tensor(t, dtype=torch.float32 if isinstance(t, float) else torch.int64)
    return {"timestep": t, "sample": store.tensor(sample), "output": store.tensor(unet(sample, timestep).sample)}
