#!/usr/bin/env python3
"""What Python users run on the same GPU: one forward in bfloat16 channels_last, eager and by torch.compile.

  python scripts/gpu/peers.py [--out FILE] [--seconds 200] [--arm-seconds 120] [--quiet FILE]

Each arm is a process of its own with a time limit, since max-autotune compiles for minutes; an arm that does not end in
time, or for which none is left, is reported with the reason. With --quiet the first arms start, and compile, beside each
other and whatever else the machine does; once there is that file, those that are ready are measured, one after the other,
and the others ended. What --out has from a run before is not run again, but for what was compiled so: its kernels were chosen while
the machine was busy, and a second time the compiler has most in its cache. Exit status 77 without a GPU.
"""

import argparse
import json
import os
import queue
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

# Both tune by coordinate descent. Inductor chooses among cuDNN's and cuBLAS's kernels alone, or Triton's too: torch 2.11 compiles each of
# those twice, the second time one by one.
LIBRARIES, WITH_TRITON = "max-autotune, libraries", "max-autotune"
TRITON_SECONDS = 600  # for such an arm
# The most telling first: what is late is left out.
ARMS = [("cifar10", 64, LIBRARIES), ("cifar10", 64, "eager"), ("cifar10", 1, LIBRARIES), ("cifar10", 1, "eager"),
        ("cifar10", 256, LIBRARIES), ("cifar10", 256, "eager"), ("church", 1, LIBRARIES), ("church", 1, "eager"),
        ("cifar10", 64, WITH_TRITON), ("cifar10", 1, WITH_TRITON), ("cifar10", 256, WITH_TRITON), ("church", 1, WITH_TRITON)]
# What starts before it is quiet: eager beside the same model and batch compiled.
AHEAD = ARMS[:4]
READY = "ready"  # an arm that is held says that it can be measured, and waits for a line
BUSY = "compiledWhileBusy"
LAST_SECONDS = 5  # of --seconds: for ending an arm, and writing


def compiled(model, mode):
    import torch
    import torch._inductor.config as inductor

    inductor.conv_1x1_as_mm = True
    inductor.epilogue_fusion = False
    if mode == LIBRARIES:
        inductor.max_autotune_gemm_backends = inductor.max_autotune_conv_backends = "ATEN"
    return torch.compile(model, mode="max-autotune", fullgraph=True, dynamic=False)


def end_with_parent():
    """An arm's session ends when nobody holds the other end of its input. Returns what waits for a line."""
    told = threading.Event()

    def read():
        while sys.stdin.readline():
            told.set()
        os.killpg(0, signal.SIGKILL)

    threading.Thread(target=read, daemon=True).start()
    return told.wait


def measure(name, batch, mode, is_held=False, seconds=1.0):
    """Milliseconds of a forward: the median by CUDA events, warm-up left out."""
    wait_for_turn = end_with_parent() if is_held else lambda: None
    import torch
    from unet import random_unet

    torch.backends.cudnn.benchmark = True
    model, source = random_unet(name)
    size = model.settings["sample_size"] if source == "plain torch" else model.unet.config.sample_size
    model = model.to("cuda", torch.bfloat16, memory_format=torch.channels_last)
    x = torch.randn(batch, 3, size, size, device="cuda", dtype=torch.bfloat16).to(memory_format=torch.channels_last)
    timesteps = torch.full((batch,), 500, device="cuda")
    forward = model if mode == "eager" else compiled(model, mode)

    def prepare():
        started = time.perf_counter()
        for _ in range(5):
            forward(x, timesteps)
        torch.cuda.synchronize()
        return time.perf_counter() - started

    with torch.no_grad():
        preparation = None if mode == "eager" else prepare()
        if is_held:
            print(READY, flush=True)
        wait_for_turn()
        if preparation is None:  # when it is quiet, since cuDNN measures its kernels
            preparation = prepare()
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        times, started = [], time.perf_counter()
        while time.perf_counter() - started < seconds or len(times) < 10:
            begin.record()
            forward(x, timesteps)
            end.record()
            end.synchronize()
            times.append(begin.elapsed_time(end))
    return {"milliseconds": statistics.median(times), "calls": len(times), "preparationSeconds": preparation, "source": source}


class Arm:
    """A process that prepares its forward, and measures it when it is told to."""

    def __init__(self, arm):
        name, batch, mode = arm
        command = [sys.executable, __file__, "--arm", name, str(batch), mode, "--held"]
        self.errors = tempfile.TemporaryFile("w+")
        # A session of its own: Inductor's compiler processes end with it.
        self.process = subprocess.Popen(command, text=True, start_new_session=True, stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, stderr=self.errors)
        self.lines = queue.Queue()  # what it prints, and None once it has ended
        threading.Thread(target=self._read, daemon=True).start()
        self.is_ready = False

    def _read(self):
        for line in self.process.stdout:
            self.lines.put(line.strip())
        self.process.wait()
        self.lines.put(None)

    def wait_until_ready(self, limit, until=lambda: False):
        """Whether it is, after so many seconds at most, or when it is `until`."""
        end = time.monotonic() + limit
        while not self.is_ready and time.monotonic() < end and not until():
            try:
                line = self.lines.get(timeout=0.2)
            except queue.Empty:
                continue
            if line is None:
                self.lines.put(None)
                return False
            self.is_ready = line == READY
        return self.is_ready

    def result(self, limit):
        """What it measures, or why there is nothing."""
        end = time.monotonic() + limit
        try:
            if self.wait_until_ready(limit):
                self.process.stdin.write("\n")
                self.process.stdin.flush()
                while (line := self.lines.get(timeout=max(end - time.monotonic(), 10))) is not None:
                    if line.startswith("{"):
                        return json.loads(line)
        except (queue.Empty, OSError):
            pass
        finally:
            left_out = self.left_out(f"did not end in {limit:.0f} s")
        return left_out

    def left_out(self, if_running):
        """Ends it. Why there is no result of it, if there is none."""
        is_running = self.process.poll() is None
        self.end()
        if is_running:
            return {"leftOut": if_running}
        self.errors.seek(0)
        errors = self.errors.read()
        lines = errors.strip().splitlines() or ["no message"]
        return {"leftOut": lines[-1][:300], "stderr": errors[-3000:]}

    def end(self):
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self.process.wait()


class Results:
    """Of this run and the one before, kept in a file."""

    def __init__(self, file):
        self.file, self.arms = file, []
        if file and file.exists():
            self.arms = json.loads(file.read_text())["arms"]

    def has(self, arm):
        return any("milliseconds" in one and BUSY not in one and self._is(one, arm) for one in self.arms)

    @staticmethod
    def _is(one, arm):
        return (one["model"], one["batch"], one["mode"]) == arm

    def add(self, arm, result):
        import torch

        show(arm, result)
        before = [one for one in self.arms if self._is(one, arm) and "milliseconds" in one]
        if before and "milliseconds" not in result:
            return
        self.arms = [one for one in self.arms if not self._is(one, arm)]
        self.arms.append({"model": arm[0], "batch": arm[1], "mode": arm[2], **result})
        if self.file:
            versions = {"torch": torch.__version__, "cuda": torch.version.cuda, "device": torch.cuda.get_device_name()}
            self.file.write_text(json.dumps({**versions, "arms": self.arms}, indent=1) + "\n")


def show(arm, result):
    name, batch, mode = arm
    what = f"{name} bfloat16 batch {batch}, {mode}"
    if "leftOut" in result:
        print(f"{what:<48} left out: {result['leftOut']}", flush=True)
    else:
        print(f"{what:<48} {result['milliseconds']:9.3f} ms  ({result['source']}, ready after "
              f"{result['preparationSeconds']:.0f} s{', compiled while the machine was busy' if BUSY in result else ''})",
              flush=True)


def run_ahead(options, results, left):
    """Measures what was compiled when it is quiet, and eager beside it."""
    arms = {}
    try:
        for arm in AHEAD:
            if not results.has(arm):
                arms[arm] = Arm(arm)
        for arm in arms.values():
            arm.wait_until_ready(left(), until=options.quiet.exists)
        Path(f"{options.quiet}.{READY}").touch()
        while not options.quiet.exists() and left() > 0:
            time.sleep(0.2)
        for arm, process in list(arms.items()):
            if not process.wait_until_ready(1):
                results.add(arm, arms.pop(arm).left_out(f"was not ready after {options.seconds - LAST_SECONDS - left():.0f} s"))
        for arm, process in list(arms.items()):
            result = process.result(left())
            was_busy = arm[2] != "eager" and "milliseconds" in result
            results.add(arm, {**result, BUSY: True} if was_busy else result)
            del arms[arm]
    finally:
        for process in arms.values():
            process.end()


def run(arm, options, results, left):
    if results.has(arm):
        return
    limit = min(left(), TRITON_SECONDS if arm[2] == WITH_TRITON else options.arm_seconds)
    if limit < 10:
        return results.add(arm, {"leftOut": "no time"})
    results.add(arm, Arm(arm).result(limit))


def main():
    started = time.monotonic()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--seconds", type=float, default=200, help="in all")
    parser.add_argument("--arm-seconds", type=float, default=120, help="for one arm; Triton's get up to %d" % TRITON_SECONDS)
    parser.add_argument("--quiet", type=Path, help="measures once there is this file; FILE.ready says that all is compiled")
    parser.add_argument("--arm", nargs=3, metavar=("MODEL", "BATCH", "MODE"), help="measures this one alone, as JSON")
    parser.add_argument("--held", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()

    import torch

    if not torch.cuda.is_available():
        print("no CUDA device")
        return 77
    if options.arm:
        name, batch, mode = options.arm
        print(json.dumps(measure(name, int(batch), mode, options.held)))
        return 0
    # What ends this one ends its arms.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    results = Results(options.out)

    def left():
        return options.seconds - LAST_SECONDS - (time.monotonic() - started)

    if options.quiet:
        run_ahead(options, results, left)
    else:
        for arm in ARMS:
            run(arm, options, results, left)
    return 0 if any("milliseconds" in result for result in results.arms) else 1


if __name__ == "__main__":
    sys.exit(main())
