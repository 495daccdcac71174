#!/usr/bin/env python3
"""What Python users run on the same GPU: one forward in bfloat16 channels_last, eager and by torch.compile.

  python scripts/gpu/peers.py [--out FILE] [--seconds 200] [--arm-seconds 120]

Each arm is a process of its own with a time limit, since max-autotune compiles for minutes; an arm that does not end in
time, or for which none is left, is reported with the reason. Exit status 77 without a GPU.
"""

import argparse
import json
import os
import signal
import statistics
import subprocess
import sys
import time
from pathlib import Path

# max-autotune with cuDNN's and cuBLAS's kernels alone; with Triton's among them it compiles for many minutes.
LIBRARIES = "max-autotune, libraries"
# The most telling first: what is late is left out.
ARMS = [("cifar10", 64, LIBRARIES), ("cifar10", 64, "eager"), ("cifar10", 1, LIBRARIES), ("cifar10", 1, "eager"),
        ("cifar10", 256, LIBRARIES), ("cifar10", 256, "eager"), ("church", 1, LIBRARIES), ("church", 1, "eager"),
        ("cifar10", 64, "max-autotune"), ("cifar10", 1, "max-autotune"), ("cifar10", 256, "max-autotune"),
        ("church", 1, "max-autotune")]


def compiled(model, mode):
    import torch
    import torch._inductor.config as inductor

    inductor.conv_1x1_as_mm = True
    inductor.epilogue_fusion = False
    inductor.coordinate_descent_tuning = mode == "max-autotune"
    if mode == LIBRARIES:
        inductor.max_autotune_gemm_backends = inductor.max_autotune_conv_backends = "ATEN"
    return torch.compile(model, mode="max-autotune", fullgraph=True, dynamic=False)


def measure(name, batch, mode, seconds=1.0):
    """Milliseconds of a forward: the median by CUDA events, warm-up left out."""
    import torch
    from unet import random_unet

    torch.backends.cudnn.benchmark = True
    model, source = random_unet(name)
    size = model.settings["sample_size"] if source == "plain torch" else model.unet.config.sample_size
    model = model.to("cuda", torch.bfloat16, memory_format=torch.channels_last)
    x = torch.randn(batch, 3, size, size, device="cuda", dtype=torch.bfloat16).to(memory_format=torch.channels_last)
    timesteps = torch.full((batch,), 500, device="cuda")
    started = time.perf_counter()
    forward = model if mode == "eager" else compiled(model, mode)
    with torch.no_grad():
        for _ in range(5):
            forward(x, timesteps)
        torch.cuda.synchronize()
        preparation = time.perf_counter() - started
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        times, started = [], time.perf_counter()
        while time.perf_counter() - started < seconds or len(times) < 10:
            begin.record()
            forward(x, timesteps)
            end.record()
            end.synchronize()
            times.append(begin.elapsed_time(end))
    return {"milliseconds": statistics.median(times), "calls": len(times), "preparationSeconds": preparation, "source": source}


def run_arm(arm, limit):
    """The arm's result, or why there is none."""
    if limit < 10:
        return {"leftOut": "no time"}
    name, batch, mode = arm
    command = [sys.executable, __file__, "--arm", name, str(batch), mode]
    # A session of its own: Inductor's compiler processes end with it.
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, text=True, start_new_session=True, **pipes) as process:
        try:
            answer, errors = process.communicate(timeout=limit)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
            return {"leftOut": f"did not end in {limit:.0f} s"}
    if process.returncode != 0:
        lines = errors.strip().splitlines() or ["no message"]
        return {"leftOut": lines[-1][:300], "stderr": errors[-3000:]}
    try:
        return json.loads(answer.strip().splitlines()[-1])
    except (IndexError, ValueError):
        return {"leftOut": "it gave no result", "stderr": errors[-3000:]}


def show(arm, result):
    name, batch, mode = arm
    what = f"{name} bfloat16 batch {batch}, {mode}"
    if "leftOut" in result:
        print(f"{what:<48} left out: {result['leftOut']}", flush=True)
    else:
        print(f"{what:<48} {result['milliseconds']:9.3f} ms  ({result['source']}, ready after "
              f"{result['preparationSeconds']:.0f} s)", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--seconds", type=float, default=200, help="in all")
    parser.add_argument("--arm-seconds", type=float, default=120, help="for one arm")
    parser.add_argument("--arm", nargs=3, metavar=("MODEL", "BATCH", "MODE"), help=argparse.SUPPRESS)
    options = parser.parse_args()

    import torch

    if not torch.cuda.is_available():
        print("no CUDA device")
        return 77
    if options.arm:
        name, batch, mode = options.arm
        print(json.dumps(measure(name, int(batch), mode)))
        return 0
    started, results = time.monotonic(), []
    for arm in ARMS:
        left = options.seconds - (time.monotonic() - started)
        result = run_arm(arm, min(left, options.arm_seconds))
        show(arm, result)
        results.append({"model": arm[0], "batch": arm[1], "mode": arm[2], **result})
        if options.out:
            versions = {"torch": torch.__version__, "cuda": torch.version.cuda, "device": torch.cuda.get_device_name()}
            options.out.write_text(json.dumps({**versions, "arms": results}, indent=1) + "\n")
    return 0 if any("milliseconds" in result for result in results) else 1


if __name__ == "__main__":
    sys.exit(main())
