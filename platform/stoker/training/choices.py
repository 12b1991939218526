"""What is chosen by measuring, once, before the first step: precision, and the length of a run bounded by time."""

import copy
import time

import torch

from stoker.spec.job import Job
from stoker.spec.section import time_seconds
from stoker.training.assembly import Assembly, Prepared, assemble
from stoker.training.parallel import arithmetic, supports_bf16

TIMED_STEPS = 3
GAIN = 1.3
"""bf16 must be this much faster to be worth its coarser numbers."""


def choose(prepared: Prepared, device: torch.device) -> Prepared:
    """Fill in the choices that are still open, by timing three steps of each kind on throw-away weights."""
    training = prepared.job.training
    candidates = [training.precision]
    if training.precision == "auto":
        candidates = ["fp32", "bf16"] if supports_bf16(device) else ["fp32"]
    open_length = not (training.epochs or training.steps)
    if len(candidates) == 1 and not open_length:
        return _with(prepared, {"precision": candidates[0]})
    assembly = assemble(prepared, device)
    seconds = {precision: step_seconds(assembly, precision) for precision in candidates}
    chosen = candidates[0]
    if len(seconds) > 1 and seconds["fp32"] > GAIN * seconds["bf16"]:
        chosen = "bf16"
    update: dict[str, object] = {"precision": chosen}
    if open_length:
        assert training.time is not None
        update["steps"] = max(1, round(time_seconds(training.time) / seconds[chosen]))
    return _with(prepared, update)


def step_seconds(assembly: Assembly, precision: str) -> float:
    """Time forward and backward of a batch: the fastest of three, after one to warm up."""
    objective = copy.deepcopy(assembly.objective)
    objective.train()
    batch = next(iter(assembly.batches().epoch(0)))
    fastest = float("inf")
    with torch.random.fork_rng(devices=[assembly.device] if assembly.device.type == "cuda" else []):
        for attempt in range(1 + TIMED_STEPS):
            begin = time.perf_counter()
            for micro_batch, noise in batch.micro_batches:
                with arithmetic(assembly.device, precision):
                    losses = objective(micro_batch, objective.turns(0)[0], noise)
                torch.autograd.backward([loss.total for loss in losses.values()])
            if assembly.device.type == "cuda":
                torch.cuda.synchronize(assembly.device)
            if attempt:
                fastest = min(fastest, time.perf_counter() - begin)
    return fastest


def _with(prepared: Prepared, training: dict[str, object]) -> Prepared:
    job: Job = prepared.job.model_copy(update={"training": prepared.job.training.model_copy(update=training)})
    return Prepared(job, prepared.data)
