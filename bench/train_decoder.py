"""A small transformer decoder through the platform, against nanoGPT's loop written out.

4 layers of 128 numbers, 4 heads, 64 letters, batches of 12: nanoGPT's recipe for a CPU. Both arms train the same
network from the same weights on the same batches in the same order, with the same loss, weight decay, clipping and
learning rates. The losses of all steps must agree before times are reported. The arms differ in their implementation:

- stoker: the code path of a worker, with loss, gradient norm and learning rate of every step recorded.
- nanoGPT: its network and loop, torch's defaults; a loss is read every ten steps.
- stoker bf16: as stoker, with `precision: bf16`. The arithmetic and so the losses differ; this row is for information.

Each arm is a process of its own, since the allocator's options apply to a whole process.
"""

import tempfile
from pathlib import Path

import numpy as np
import torch

from nano_gpt import nano_steps
from pairing import Laps, Machine, Process, Training, alternate, check_equal, curve, report, run_arms, serve
from stoker.jobfile.loading import parse_job
from stoker.training.parallel import prepare_process
from stoker.training.preparation import Prepared, prepare
from workload import on_cpu, recorded_steps

ARMS = ("stoker", "nanoGPT", "stoker bf16")
LAP, STEPS = 20, 400
TOLERANCE = 1e-3
"""Relative tolerance of the losses: the order of summation differs, and AdamW amplifies small differences."""
JOB = """
task: text-generation
dataset: {{source: {data}, text: {{tokens: characters, length: 64}}, split: none}}
architecture: {{family: transformer, layers: 4, width: 128, heads: 4, positions: learned, dropout: 0.0}}
training:
  epochs: 2
  batch_size: 12
  optimizer: {{type: adamw, lr: 1e-3, betas: [0.9, 0.99], weight_decay: 0.1}}
  schedule: {{type: cosine, warmup: 5%}}
  gradient_clip: 1.0
  precision: {precision}
"""


def decoder_job(folder: Path, precision: str) -> Prepared:
    """Return the prepared job: 400 steps an epoch of random letters."""
    letters = np.frombuffer(b"abcdefghijklmnopqrstuvwxyz .,;:!?ABCDEFGHIJKLMNOPQRSTUVWXYZ'-\n&3", np.uint8)
    text = np.random.default_rng(0).choice(letters, STEPS * 12 * 64).tobytes()
    (folder / "text.txt").write_bytes(text)
    return prepare(parse_job(JOB.format(data=folder / "text.txt", precision=precision), "decoder").task_job)


def serve_arm(name: str, threads: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        if name == "nanoGPT":
            torch.set_num_threads(threads)
        else:
            prepare_process(threads)
        prepared = decoder_job(Path(folder), precision="bf16" if name.endswith("bf16") else "fp32")
        steps = nano_steps(prepared) if name == "nanoGPT" else recorded_steps(on_cpu(prepared), Path(folder) / "run")
        serve(Training(steps, STEPS, LAP))


def compare(threads: int, rounds: int) -> None:
    machine = Machine()
    processes = {name: Process(__file__, "--arm", name, "--threads", str(threads)) for name in ARMS}
    first = {name: process() for name, process in processes.items()}
    difference = check_equal(first["stoker"].values, first["nanoGPT"].values, TOLERANCE)
    laps: Laps = alternate(processes, rounds)
    check_equal(curve(laps["stoker"]), curve(laps["nanoGPT"]), 10 * TOLERANCE)
    for process in processes.values():
        process.end()
    print(f"decoder 4x128, 12 x 64 letters, {threads} thread(s); the first {LAP} losses agree to {difference:.1g}")
    report(laps, "nanoGPT", "cpu_s" if threads == 1 else "wall_s", LAP, "step")
    machine.describe(torch=torch.__version__, threads=threads, malloc="mallopt in stoker's arms")


if __name__ == "__main__":
    run_arms(__doc__, ARMS, serve_arm, compare)
