"""Choices by measurement, once, before the first step: threads, precision, and steps of a run limited by time."""

import copy
import math
import sys
import time
from collections.abc import Callable, Sequence
from typing import TypeVar

import torch

from stoker.job.concurrency import machine_cpus
from stoker.job.section import time_seconds
from stoker.training.assembly import Assembly, assemble
from stoker.training.compilation import compile_layers
from stoker.training.parallel import Workers, arithmetic, supports_bf16
from stoker.training.preparation import Prepared

Choice = TypeVar("Choice")
TIMED_STEPS = 3
MIN_SPEEDUP = 1.3
"""More threads, or a lower precision, must be faster by this factor."""
MIN_COMPILED_SPEEDUP = 1.05
"""Compiled layers must be faster by this factor."""


def choose(prepared: Prepared, workers: Workers) -> Prepared:
    """Fill in the open choices by timing three steps of each candidate on throw-away weights.

    One worker chooses, for all of them.
    """
    if prepared.job.training.parallel == "fsdp":
        return _untimed(prepared, workers)
    training, resources = prepared.job.training, prepared.job.resources
    device, cpus = workers.device, max(1, machine_cpus() // max(workers.count, resources.most_workers))
    threads = [resources.cpus] if resources.cpus else sorted({1, cpus}) if device.type == "cpu" else [cpus]
    precisions = [training.precision]
    if training.precision == "auto":
        precisions = ["fp32", "bf16"] if supports_bf16(device) else ["fp32"]
    open_length = not (training.epochs or training.steps)
    update: dict[str, object] = {}
    if len(threads) * len(precisions) > 1 or open_length or training.compile:
        assembly = assemble(prepared, workers, compiled=False)
        many, _ = _fastest(threads, lambda number: step_seconds(assembly, precisions[0], number))
        precision, seconds = _fastest(precisions, lambda name: step_seconds(assembly, name, many))
        threads, precisions = [many], [precision]
        if training.compile:
            faster = _compiled_seconds(assembly, precision, many)
            pays = faster * MIN_COMPILED_SPEEDUP < seconds
            if faster < math.inf:
                what = "kept" if pays else "left out"
                print(f"compile: a step takes {faster / seconds:.2f}x as long, {what}", file=sys.stderr)  # noqa: T201
            update["compile"] = pays
            seconds = faster if pays else seconds
        if open_length:
            assert training.time is not None
            update["steps"] = max(1, round(time_seconds(training.time) / seconds))
    update["precision"] = precisions[0]
    job = prepared.job.model_copy(
        update={
            "training": training.model_copy(update=update),
            "resources": resources.model_copy(update={"cpus": threads[0]}),
        }
    )
    return Prepared(job, prepared.data)


def _untimed(prepared: Prepared, workers: Workers) -> Prepared:
    """Make the choices for weights that no worker can hold alone: by what the machine can do."""
    training, resources = prepared.job.training, prepared.job.resources
    most = max(workers.count, resources.most_workers)
    precision = training.precision
    if precision == "auto":
        precision = "bf16" if workers.device.type == "cuda" and supports_bf16(workers.device) else "fp32"
    update = {
        "training": training.model_copy(update={"precision": precision}),
        "resources": resources.model_copy(update={"cpus": resources.cpus or max(1, machine_cpus() // most)}),
    }
    return Prepared(prepared.job.model_copy(update=update), prepared.data)


def _fastest(candidates: Sequence[Choice], seconds: Callable[[Choice], float]) -> tuple[Choice, float]:
    """Return the first candidate, unless a later one is faster by MIN_SPEEDUP, and its time."""
    chosen, best = candidates[0], seconds(candidates[0])
    for candidate in candidates[1:]:
        if (needed := seconds(candidate)) * MIN_SPEEDUP < best:
            chosen, best = candidate, needed
    return chosen, best


def _compiled_seconds(assembly: Assembly, precision: str, threads: int) -> float:
    """Return the time of a step with compiled layers; infinite if they cannot be compiled, which the log says."""
    try:
        return step_seconds(assembly, precision, threads, compiled=True)
    except Exception as error:  # as it is, the step has just worked
        first = str(error).strip().partition("\n")[0]
        print(f"compile: left out, since it failed: {type(error).__name__}: {first}", file=sys.stderr)  # noqa: T201
        return math.inf


def step_seconds(assembly: Assembly, precision: str, threads: int, compiled: bool = False) -> float:
    """Return the time of forward and backward of a batch: the fastest of three, after one to warm up."""
    objective = copy.deepcopy(assembly.objective)
    if compiled:
        compile_layers(objective.network, forgiving=False)
    objective.train()
    objective.begin_epoch(len(assembly.share()))
    batch = next(iter(assembly.batches(ahead=False).epoch(0)))
    fastest = float("inf")
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    with torch.random.fork_rng(devices=[assembly.device] if assembly.device.type == "cuda" else []):
        for attempt in range(1 + TIMED_STEPS):
            begin = time.perf_counter()
            for turn in objective.turns(0):
                inputs = [each for each in objective.groups()[turn].parameters() if each.requires_grad]
                for micro_batch, noise in batch.micro_batches:
                    with arithmetic(assembly.device, precision):
                        losses = objective(micro_batch, turn, noise)
                    torch.autograd.backward(list(losses.values()), inputs=inputs)
            if assembly.device.type == "cuda":
                torch.cuda.synchronize(assembly.device)
            if attempt:
                fastest = min(fastest, time.perf_counter() - begin)
    torch.set_num_threads(before)
    return fastest
