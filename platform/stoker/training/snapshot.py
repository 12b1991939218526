"""Snapshots of a training state as tensors by qualified name and plain values, and restoring them."""

import json
import math
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.optim import Optimizer

from stoker.errors import Cause, TrainingFailed
from stoker.randomness import seed_process
from stoker.training.best_metric import BestMetric
from stoker.training.features import FeatureContent, built
from stoker.training.sharding import JoinedParts, fill, is_sharded, local
from stoker.training.state import TrainingState

DTYPES = {
    torch.float64: "F64",
    torch.float32: "F32",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.int64: "I64",
    torch.int32: "I32",
    torch.int16: "I16",
    torch.int8: "I8",
    torch.uint8: "U8",
    torch.bool: "BOOL",
}
"""torch's types by their names in the safetensors format."""
FEATURES = "features."
"""Prefix of the weights of the feature network."""


@dataclass(frozen=True)
class Snapshot:
    """One worker's copy of a state, on the CPU."""

    epoch: int
    step: int
    tensors: dict[str, Tensor]
    facts: dict[str, Any]


def take(state: TrainingState, buffers: dict[str, Tensor]) -> Snapshot:
    """Copy a state.

    The first worker's copy holds the state that all workers share; the others' only their rows and random states.

    Args:
        state: to copy; its losses are read first, so that no broken state is saved.
        buffers: memory of earlier copies, for reuse.

    Raises:
        TrainingFailed: the loss is no longer a finite number.

    """
    state.read_losses()
    mine = dict(_own_tensors(state))
    shared = dict(_shared_tensors(state))
    sharded = [name for name, value in shared.items() if is_sharded(value)]
    mine |= shared if state.assembly.workers.rank == 0 else {name: shared[name] for name in sharded}
    mine = {name: local(value) for name, value in mine.items()}
    for name, tensor in mine.items():
        if name not in buffers or buffers[name].shape != tensor.shape:
            buffers[name] = torch.empty(tensor.shape, dtype=tensor.dtype)
    names = list(mine)
    with torch.no_grad():
        torch._foreach_copy_([buffers[name] for name in names], [mine[name] for name in names])
    return Snapshot(
        state.epoch,
        state.step,
        {name: buffers[name] for name in names},
        _facts(state) | ({"sharded": sharded} if sharded else {}),
    )


def restore(state: TrainingState, parts: Sequence[Mapping[str, Tensor]], facts: Sequence[Mapping[str, Any]]) -> None:
    """Restore a state from a snapshot of any number of workers.

    Args:
        state: freshly started, of the same job.
        parts: the tensors of each worker, by rank.
        facts: the plain values of each worker, by rank.

    Raises:
        TrainingFailed: the snapshot is of other data or another network.

    """
    workers, first = state.assembly.workers, facts[0]
    shared = JoinedParts(parts, first.get("sharded", ()))
    if first["data"] != state.assembly.data.fingerprint:
        message = "the data has changed since the checkpoint was written; restore it, or submit the job again"
        raise TrainingFailed(Cause.BAD_DATA, message)
    if first.get("origins", {}) != state.assembly.objective.origin_digests():
        message = (
            "the pretrained model has changed since the checkpoint was written; restore it, or submit the job again"
        )
        raise TrainingFailed(Cause.BAD_DATA, message)
    weights = state.weights()
    kept = {name: shared.shape(f"objective.{name}") for name in weights if f"objective.{name}" in shared}
    if kept != {name: tuple(value.shape) for name, value in weights.items()}:
        message = "the checkpoint belongs to another network; keep the architecture unchanged"
        raise TrainingFailed(Cause.BAD_DATA, message)
    with torch.no_grad():
        for name, value in weights.items():
            fill(value, shared[f"objective.{name}"])
        _restore_rows(state, parts)
        state.best_weights = {
            name: torch.empty_like(value) for name, value in weights.items() if f"best.{name}" in shared
        }
        for name, value in state.best_weights.items():
            fill(value, shared[f"best.{name}"])
        if state.average:
            names = {name.removeprefix("average."): name for name in shared if name.startswith("average.")}
            state.average.restore({short: shared[name] for short, name in names.items()})
        if first.get("features"):
            _restore_features(state, shared, first["features"])
        kinds = _optimizer_types(state)
        if first.get("optimizers", kinds) == kinds:  # the state of one type means nothing to another
            _restore_optimizers(state, shared)
    state.epoch, state.batch, state.step = first["epoch"], first["batch"], first["step"]
    state.seconds, state.reason = first["seconds"], first["reason"]
    state.sums = {term: (total, weight) for term, (total, weight) in first["sums"].items()}
    _restore_best(state.best, first["best"])
    if state.stopping and first["stopping"]:
        _restore_best(state.stopping, first["stopping"])
    for turn, schedule in state.schedules.items():
        schedule.restore(first["schedules"][turn])
        schedule.go_to(state.step)
    if len(parts) == workers.count:
        _restore_random(parts[workers.rank], facts[workers.rank])
    else:  # random states do not carry over to another number of workers
        seed_process(state.assembly.job.training.seed + 1_000_003 * (state.step + 1) + workers.rank)


def reset_progress(state: TrainingState) -> None:
    """Reset the progress of a finished state to zero; weights and optimizer states stay."""
    state.epoch = state.batch = state.step = 0
    state.seconds, state.reason = 0.0, ""
    state.sums.clear()
    state.best.epoch = state.best.step = 0  # the best weights so far are the initial ones
    if state.stopping:
        state.stopping.epoch = state.stopping.step = 0
    for schedule in state.schedules.values():
        schedule.restore({"best": math.inf, "idle": 0, "factor": 1.0})
        schedule.go_to(0)


def encode(tensors: Mapping[str, Tensor]) -> list[bytes | memoryview]:
    """Return the content of a safetensors file in pieces, without copying the tensors.

    The library's own writer first joins them in memory while holding the GIL.
    """
    header: dict[str, Any] = {}
    pieces: list[bytes | memoryview] = []
    position = 0
    # Larger types first: the format requires each tensor to be aligned to its element size.
    for name, tensor in sorted(tensors.items(), key=lambda item: (-item[1].element_size(), item[0])):
        end = position + tensor.nbytes
        header[name] = {"dtype": DTYPES[tensor.dtype], "shape": list(tensor.shape), "data_offsets": [position, end]}
        if tensor.nbytes:
            pieces.append(tensor.reshape(-1).view(torch.uint8).numpy().data)
        position = end
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return [len(text).to_bytes(8, "little"), text, *pieces]


def _shared_tensors(state: TrainingState) -> Iterator[tuple[str, Tensor]]:
    for name, value in state.weights().items():
        yield f"objective.{name}", value
    for name, value in state.best_weights.items():
        yield f"best.{name}", value
    for name, value in state.average.weights.items() if state.average else ():
        yield f"average.{name}", value
    if features := state.assembly.task.features:
        for name, value in features.classifier.state_dict().items():
            yield f"{FEATURES}{name}", value
    for prefix, parameter, optimizer in _optimized(state):
        for key, value in optimizer.state.get(parameter, {}).items():
            yield f"{prefix}.{key}", value if isinstance(value, Tensor) else torch.tensor(value)


def _own_tensors(state: TrainingState) -> Iterator[tuple[str, Tensor]]:
    everything = state.assembly.objective.state_dict()
    for name in state.assembly.objective.carried:
        yield f"rows.{name}", everything[name]
    yield "random.cpu", torch.get_rng_state()
    if state.assembly.device.type == "cuda":
        yield "random.cuda", torch.cuda.get_rng_state(state.assembly.device)


def _optimized(state: TrainingState) -> Iterator[tuple[str, Tensor, Optimizer]]:
    """Return the key prefix of each parameter's state in each optimizer."""
    names = {parameter: name for name, parameter in state.assembly.objective.named_parameters()}
    for turn, optimizers in state.optimizers.items():
        for number, optimizer in enumerate(optimizers):
            for group in optimizer.param_groups:
                for parameter in group["params"]:
                    yield f"optimizer.{turn}.{number}.{names[parameter]}", parameter, optimizer


def _facts(state: TrainingState) -> dict[str, Any]:
    numpy_state = np.random.get_state(legacy=False)
    assert isinstance(numpy_state, dict)
    return {
        "epoch": state.epoch,
        "batch": state.batch,
        "step": state.step,
        "seconds": state.trained_s(),
        "reason": state.reason,
        "sums": dict(state.sums),  # a copy: the original changes while this is written
        "best": asdict(state.best),
        "stopping": asdict(state.stopping) if state.stopping else None,
        "schedules": {turn: schedule.facts() for turn, schedule in state.schedules.items()},
        "optimizers": _optimizer_types(state),
        "data": state.assembly.data.fingerprint,
        "features": state.assembly.task.features.facts if state.assembly.task.features else None,
        "origins": state.assembly.objective.origin_digests(),
        "random.python": random.getstate(),
        "random.numpy": {**numpy_state, "state": {k: _plain(v) for k, v in numpy_state["state"].items()}},
    }


def _optimizer_types(state: TrainingState) -> dict[str, list[str]]:
    return {turn: [type(o).__name__ for o in optimizers] for turn, optimizers in state.optimizers.items()}


def _plain(value: Any) -> Any:
    return value.tolist() if isinstance(value, np.ndarray) else value


def _restore_rows(state: TrainingState, parts: Sequence[Mapping[str, Tensor]]) -> None:
    """Redistribute the rows of all workers."""
    objective, share = state.assembly.objective, state.assembly.share()
    if not objective.carried:
        return
    objective.begin_epoch(len(share))
    buffers = dict(objective.named_buffers())
    for name in objective.carried:
        rows = torch.cat([part[f"rows.{name}"] for part in parts])
        if len(rows):
            buffers[name].copy_(rows[share.start : share.stop])


def _restore_features(state: TrainingState, shared: Mapping[str, Tensor], facts: dict[str, Any]) -> None:
    """Rebuild the network by whose features made images have been compared so far."""
    weights = {name.removeprefix(FEATURES): shared[name] for name in shared if name.startswith(FEATURES)}
    assembly = state.assembly
    assembly.task.features = built(FeatureContent(facts, weights), assembly.task, assembly.device)


def _restore_optimizers(state: TrainingState, shared: Mapping[str, Tensor]) -> None:
    kept: dict[str, list[str]] = {}
    for name in shared:
        if name.startswith("optimizer."):
            prefix, _, key = name.rpartition(".")
            kept.setdefault(prefix, []).append(key)
    for prefix, parameter, optimizer in _optimized(state):
        for key in kept.get(prefix, ()):
            tensor = shared[f"{prefix}.{key}"]
            alike = tensor.shape == parameter.shape and tensor.dtype == parameter.dtype
            value = torch.empty_like(parameter) if alike else torch.empty(tensor.shape, dtype=tensor.dtype)
            fill(value := value.detach(), tensor)
            optimizer.state[parameter][key] = value.to(parameter.device)


def _restore_best(watched: BestMetric, facts: Mapping[str, Any]) -> None:
    if (facts["metric"], facts["direction"]) != (watched.metric, watched.direction):
        return  # an extension may use another metric, which has no best value yet
    watched.best = (facts["best"][0], facts["best"][1])
    watched.epoch, watched.step = facts["epoch"], facts["step"]


def _restore_random(part: Mapping[str, Tensor], facts: Mapping[str, Any]) -> None:
    torch.set_rng_state(part["random.cpu"])
    if "random.cuda" in part and torch.cuda.is_available():
        torch.cuda.set_rng_state(part["random.cuda"])
    version, numbers, following = facts["random.python"]
    random.setstate((version, tuple(numbers), following))
    kept = facts["random.numpy"]
    key = np.array(kept["state"]["key"], dtype=np.uint32)
    np.random.set_state({**kept, "state": {**kept["state"], "key": key}})
