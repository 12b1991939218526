"""A small CNN through the platform, against a plain loop that is not tuned for speed.

Both arms train the same network from the same weights on the same batches in the same order, with the same loss,
weight decay and learning rates. The losses of all steps must agree before times are reported. The arms differ in their
implementation:

- stoker: the code path of a worker (allocator, resident uint8 images, channels last, fused AdamW), with loss, gradient
  norm and learning rate of every step recorded.
- plain: DataLoader over a TensorDataset of float images, contiguous weights, torch's default AdamW, glibc's default
  allocator; it records nothing.
- stoker bf16: as stoker, with `precision: bf16`. The arithmetic and so the losses differ; this row is for information.

Each arm is a process of its own, since the allocator's options apply to a whole process.
"""

import tempfile
from pathlib import Path

import torch

from pairing import Laps, Machine, Process, Training, alternate, check_equal, curve, report, run_arms, serve
from plain_loop import plain_steps
from stoker.training.parallel import CPU, prepare_process
from workload import CNN_STEPS, cnn_job, on_cpu, recorded_steps

ARMS = ("stoker", "plain", "stoker bf16")
LAP = 20
TOLERANCE = 1e-3
"""Relative tolerance of the losses: the order of summation differs, and AdamW amplifies small differences."""


def serve_arm(name: str, threads: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        if name == "plain":
            torch.set_num_threads(threads)
        else:
            prepare_process(threads)
        prepared = cnn_job(Path(folder), epochs=2, precision="bf16" if name.endswith("bf16") else "fp32")
        if name == "plain":
            steps = plain_steps(prepared, CPU)
        else:
            steps = recorded_steps(on_cpu(prepared), Path(folder) / "run")
        serve(Training(steps, CNN_STEPS, LAP))


def compare(threads: int, rounds: int) -> None:
    machine = Machine()
    processes = {name: Process(__file__, "--arm", name, "--threads", str(threads)) for name in ARMS}
    first = {name: process() for name, process in processes.items()}
    difference = check_equal(first["stoker"].values, first["plain"].values, TOLERANCE)
    laps: Laps = alternate(processes, rounds)
    check_equal(curve(laps["stoker"]), curve(laps["plain"]), 10 * TOLERANCE)
    for process in processes.values():
        process.end()
    print(f"CNN, batch 128, {threads} thread(s); losses of the first {LAP} steps agree to {difference:.1g}")
    report(laps, "plain", "cpu_s" if threads == 1 else "wall_s", LAP, "step")
    machine.describe(torch=torch.__version__, threads=threads, malloc="mallopt in stoker's arms")


if __name__ == "__main__":
    run_arms(__doc__, ARMS, serve_arm, compare)
