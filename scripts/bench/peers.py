#!/usr/bin/env python3
"""What Python users run, timed by `npm run bench`: diffusers eager and compiled, one process for all of them.

It reads one JSON request a line on standard input and answers each with one JSON line on standard output. Between
requests it waits in a blocking read, so that the arm whose turn it is has the cores to itself. Tensors come and go as
files of raw float32.

  pip install -r scripts/requirements-bench.txt --extra-index-url https://download.pytorch.org/whl/cpu
"""

import gc
import importlib.metadata
import json
import logging
import os
import platform
import sys
import time
import warnings

os.environ.setdefault("HF_HUB_OFFLINE", "1")
# Standard output is the answers' alone; what libraries print goes to standard error.
ANSWERS = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)

import torch  # noqa: E402  (after standard output is set aside)

ARMS = {}


def version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def hello(threads: int) -> dict:
    torch.set_num_threads(threads)
    packages = ("torch", "diffusers", "onnx", "onnxscript")
    return {"python": platform.python_version(), **{name: version(name) for name in packages}}


def unet_of(folder: str):
    from diffusers import UNet2DModel
    from diffusers.utils import logging as diffusers_logging

    diffusers_logging.set_verbosity_error()
    inner = os.path.join(folder, "unet")
    return UNet2DModel.from_pretrained(inner if os.path.isdir(inner) else folder).eval().requires_grad_(False)


def sample_of(file: str, shape: list[int]) -> torch.Tensor:
    return torch.from_file(file, size=torch.Size(shape).numel(), dtype=torch.float32).reshape(shape).clone()


# --- files for the other arms ---------------------------------------------------------------------------------------
class Plain(torch.nn.Module):
    """(sample, timesteps of the batch) → the predicted tensor alone."""

    def __init__(self, unet):
        super().__init__()
        self.unet = unet

    def forward(self, sample, timestep):
        return self.unet(sample, timestep, return_dict=False)[0]


def example(unet, batch: int) -> tuple[torch.Tensor, torch.Tensor]:
    size = unet.config.sample_size
    height, width = size if isinstance(size, (list, tuple)) else (size, size)
    return torch.zeros(batch, unet.config.in_channels, height, width), torch.zeros(batch, dtype=torch.int64)


def export_onnx(folder: str, batch: int, file: str) -> dict:
    """One graph for one batch: every shape is fixed, so onnxruntime folds what depends on it."""
    unet = unet_of(folder)
    program = torch.onnx.export(
        Plain(unet),
        example(unet, batch),
        input_names=["sample", "timestep"],
        output_names=["output"],
        dynamo=True,
        optimize=True,
        external_data=False,
        verbose=False,
    )
    program.save(file, external_data=False)
    return {}


def export_torchscript(folder: str, batch: int, file: str, frozen: bool) -> dict:
    """The traced forward of one batch; frozen: constants folded, weights baked in as constants."""
    unet = unet_of(folder)
    module = torch.jit.trace(Plain(unet), example(unet, batch), check_trace=False)
    (torch.jit.freeze(module.eval()) if frozen else module).save(file)
    return {}


# --- arms -----------------------------------------------------------------------------------------------------------
def compiled(module, mode: str, inputs: tuple):
    import torch._inductor.config as inductor

    inductor.freezing = True  # weights become constants, packed for oneDNN once
    forward = torch.compile(module, mode=mode, fullgraph=True, dynamic=False)
    for _ in range(3):
        forward(*inputs)
    return forward


def load(id: str, folder: str, file: str, shape: list[int], dtype: str, channelsLast: bool, compile: str | None) -> dict:
    started = time.perf_counter()
    sample = sample_of(file, shape).to(getattr(torch, dtype))
    module = Plain(unet_of(folder).to(getattr(torch, dtype)))
    if channelsLast:
        module = module.to(memory_format=torch.channels_last)
        sample = sample.to(memory_format=torch.channels_last)
    timestep = torch.full((shape[0],), 500, dtype=torch.int64)
    forward = module if compile is None else compiled(module, compile, (sample, timestep))
    ARMS[id] = (forward, sample)
    return {"seconds": time.perf_counter() - started}


def run(id: str, timesteps: list[int]) -> dict:
    """Seconds of one forward a timestep."""
    forward, sample = ARMS[id]
    seconds = []
    for t in timesteps:
        timestep = torch.full((sample.shape[0],), t, dtype=torch.int64)
        started = time.perf_counter()
        forward(sample, timestep)
        seconds.append(time.perf_counter() - started)
    return {"seconds": seconds}


def output(id: str, timestep: int, file: str) -> dict:
    forward, sample = ARMS[id]
    result = forward(sample, torch.full((sample.shape[0],), timestep, dtype=torch.int64))
    with open(file, "wb") as stream:
        stream.write(result.float().contiguous().numpy().tobytes())
    return {}


def load_step(id: str, scheduler: str, shape: list[int], files: list[str], eta: float, noise: str, repeats: int) -> dict:
    import diffusers

    stepper = getattr(diffusers, scheduler)()
    stepper.set_timesteps(50)
    sample, output, given = (sample_of(file, shape) for file in files)
    generators = [torch.Generator() for _ in range(shape[0])]
    options = {"return_dict": False}
    if scheduler == "DDIMScheduler":
        options["eta"] = eta
    if noise == "generators":
        options["generator"] = generators
    if noise == "given":
        options["variance_noise"] = given
    alone = list(zip(output.split(1), sample.split(1)))

    def step(timesteps: list[int]) -> list:
        """One timestep for the batch, or a call a sample: diffusers' step takes no list."""
        if len(timesteps) == 1:
            return [stepper.step(output, timesteps[0], sample, **options)]
        return [stepper.step(o, t, x, **options) for t, (o, x) in zip(timesteps, alone)]

    ARMS[id] = (step, generators, repeats)
    return {}


def run_step(id: str, timesteps: list[list[int]]) -> dict:
    """Seconds of one step a call, each the mean of `repeats`."""
    step, _, repeats = ARMS[id]
    seconds = []
    for of_call in timesteps:
        started = time.perf_counter()
        for _ in range(repeats):
            step(of_call)
        seconds.append((time.perf_counter() - started) / repeats)
    return {"seconds": seconds}


def output_step(id: str, timesteps: list[int], file: str) -> dict:
    step, generators, _ = ARMS[id]
    for seed, generator in enumerate(generators):
        generator.manual_seed(seed)
    with open(file, "wb") as stream:
        stream.write(torch.cat([prev for prev, _ in step(timesteps)]).numpy().tobytes())
    return {}


def load_pipeline(id: str, folder: str, batch: int, steps: int) -> dict:
    from diffusers import DDIMPipeline

    pipeline = DDIMPipeline.from_pretrained(folder)
    pipeline.set_progress_bar_config(disable=True)
    generator = torch.Generator()
    ARMS[id] = lambda seed: pipeline(
        batch_size=batch, generator=generator.manual_seed(seed), num_inference_steps=steps, output_type="np"
    ).images
    return {}


def run_pipeline(id: str, seeds: list[int]) -> dict:
    """Seconds of one whole run a seed."""
    seconds = []
    for seed in seeds:
        started = time.perf_counter()
        ARMS[id](seed)
        seconds.append(time.perf_counter() - started)
    return {"seconds": seconds}


def output_pipeline(id: str, seed: int, file: str) -> dict:
    with open(file, "wb") as stream:
        stream.write(ARMS[id](seed).astype("float32").tobytes())
    return {}


# --- a server -------------------------------------------------------------------------------------------------------
def load_server(id: str, folder: str, scheduler: dict, limit: int) -> dict:
    from diffusers import DDIMPipeline, DDIMScheduler

    unet = unet_of(folder).to(memory_format=torch.channels_last)
    pipeline = DDIMPipeline(unet, DDIMScheduler.from_config(scheduler))
    pipeline.set_progress_bar_config(disable=True)

    def draw(seeds: list[int], steps: int):
        generators = [torch.Generator().manual_seed(seed) for seed in seeds]
        return pipeline(len(seeds), generators, num_inference_steps=steps, output_type="np").images

    for batch in range(1, limit + 1):  # oneDNN prepares its kernels for each size once
        draw([0] * batch, 1)
    ARMS[id] = draw
    return {}


def serve(id: str, trace: list[dict], limit: int, file: str | None = None) -> dict:
    """Plays a trace: whenever it is free, it takes the waiting requests with the oldest one's step count, up to `limit`.

    Latencies count from the arrivals that the trace states. The images go into `file` after that, where one is named.
    """
    latencies, images = [None] * len(trace), [None] * len(trace)
    coming, waiting = list(range(len(trace)))[::-1], []
    started = time.perf_counter()
    while coming or waiting:
        now = time.perf_counter() - started
        while coming and trace[coming[-1]]["arrival"] <= now:
            waiting.append(coming.pop())
        if not waiting:
            time.sleep(trace[coming[-1]]["arrival"] - now)
            continue
        steps = trace[waiting[0]]["steps"]
        batch = [index for index in waiting if trace[index]["steps"] == steps][:limit]
        waiting = [index for index in waiting if index not in batch]
        drawn = ARMS[id]([trace[index]["seed"] for index in batch], steps)
        finished = time.perf_counter() - started
        for index, image in zip(batch, drawn):
            latencies[index], images[index] = finished - trace[index]["arrival"], image
    if file is not None:
        with open(file, "wb") as stream:
            stream.writelines(image.astype("float32").tobytes() for image in images)
    return {"latencies": latencies, "seconds": finished}


def unload(id: str) -> dict:
    ARMS.pop(id, None)
    if not ARMS:  # a reset would have the arms that are left compiled again
        torch._dynamo.reset()
    gc.collect()
    return {}


REQUESTS = {
    f.__name__: f
    for f in (
        hello, export_onnx, export_torchscript, load, run, output, load_step, run_step, output_step, load_pipeline,
        run_pipeline, output_pipeline, load_server, serve, unload,
    )
}  # fmt: skip


def main() -> None:
    warnings.filterwarnings("ignore")
    logging.disable(logging.WARNING)
    with torch.no_grad():
        for line in sys.stdin:
            request = json.loads(line)
            try:
                answer = REQUESTS[request.pop("request")](**request)
            except Exception as error:  # whatever torch, diffusers and their compilers throw
                lines = str(error).strip().splitlines() or [""]
                answer = {"error": f"{type(error).__name__}: {lines[0][:300]}"}
            print(json.dumps(answer), file=ANSWERS, flush=True)


if __name__ == "__main__":
    main()
