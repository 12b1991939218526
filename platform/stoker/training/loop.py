"""The training loop: a generator that trains and says what happened; who drives it decides what to do about it."""

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from stoker.datasets.batches import Step
from stoker.errors import Cause, TrainingFailed
from stoker.spec.section import time_seconds
from stoker.spec.task import TASKS, Direction
from stoker.training.assembly import Assembly
from stoker.training.evaluation import evaluate
from stoker.training.gradients import Sums, accumulate, mean
from stoker.training.optimization import Schedule, build_optimizers, clip, gradient_norm

CHECKED_STEPS = 100
"""Losses are looked at this many steps at a time: asking for each would wait for each."""


@dataclass(frozen=True)
class StepEnd:
    """An optimizer step is done."""

    run: str
    epoch: int
    step: int
    """Steps done so far."""
    losses: dict[str, Tensor]
    """Mean of each term over the global batch; still on the device."""
    learning_rate: float
    gradient_norm: Tensor | None
    """None where nobody asked and nothing was clipped."""


@dataclass(frozen=True)
class EpochEnd:
    """An epoch is done and the network evaluated; the state is whole here."""

    run: str
    epoch: int
    """Epochs done so far."""
    step: int
    metrics: dict[str, float]
    """By quantity and part, such as accuracy/val."""
    improved: bool
    """Whether these are the best weights so far."""


@dataclass(frozen=True)
class TrainingEnd:
    """Nothing more is trained; the objective holds the best weights."""

    run: str
    step: int
    best_epoch: int
    best_step: int
    """Epoch and step of the weights that the objective holds."""
    reason: str
    """Why training ended: length, time, or early stopping."""


Event = StepEnd | EpochEnd | TrainingEnd


@dataclass
class Watched:
    """The best value of a metric so far, and how long ago it was."""

    metric: str
    direction: Direction
    best: tuple[float, float] = (math.inf, math.inf)
    """The value, turned so that lower is better, and the loss that decides between equals."""
    epoch: int = 0
    step: int = 0

    def better(self, metrics: dict[str, float], epoch: int, step: int) -> bool:
        """Take in an epoch's metrics; True if they are the best so far. What is not finite never is."""
        value = metrics[self.metric]
        loss = metrics.get(f"loss/{self.metric.split('/')[1]}", math.inf)
        rank = (-value if self.direction == "max" else value, loss)
        if not math.isfinite(value) or rank >= self.best:
            return False
        self.best, self.epoch, self.step = rank, epoch, step
        return True


@dataclass
class TrainingState:
    """Everything that changes while training."""

    assembly: Assembly
    parameters: dict[str, list[nn.Parameter]]
    """What each turn changes."""
    optimizers: dict[str, tuple[Optimizer, ...]]
    schedules: tuple[Schedule, ...]
    best: Watched
    stopping: Watched | None
    patience: int
    """Epochs early stopping waits."""
    epoch: int = 0
    step: int = 0
    best_weights: dict[str, Tensor] = field(default_factory=dict)
    unread: list[Sums] = field(default_factory=list)
    """Of steps not yet looked at."""
    sums: dict[str, tuple[float, float]] = field(default_factory=dict)
    """Total and weight of each term over the epoch."""


def train(run: str, assembly: Assembly, norm_every: int = 1) -> Iterator[Event]:
    """Train to the end; the objective then holds the best weights.

    Args:
        run: the run's id, carried by every event.
        assembly: what to train.
        norm_every: the gradient's norm is measured at the steps whose number this divides.

    Raises:
        TrainingFailed: the loss is no longer a finite number.

    """
    state = start(assembly)
    prepared, training = assembly.prepared, assembly.job.training
    batches = assembly.batches()
    deadline = time.monotonic() + time_seconds(training.time) if training.time else math.inf
    torch.manual_seed(training.seed)  # dropout draws from torch's own generator
    assembly.objective.train()
    reason = ""
    while not reason:
        for batch in batches.epoch(state.epoch):
            yield _step(run, state, batch, measured=(state.step + 1) % norm_every == 0)
            if state.step >= prepared.steps:
                reason = "length"
                break
            if time.monotonic() >= deadline:
                reason = "time"
                break
        state.epoch += 1
        metrics = _epoch_metrics(state)
        yield EpochEnd(run, state.epoch, state.step, metrics, _take_in(state, metrics))
        if state.stopping and state.epoch - state.stopping.epoch >= state.patience:
            reason = reason or "early stopping"
    if state.best_weights:
        assembly.objective.load_state_dict(state.best_weights)
    kept = state.best if state.best_weights else state
    yield TrainingEnd(run, state.step, kept.epoch, kept.step, reason)


def start(assembly: Assembly) -> TrainingState:
    """Make the state before the first step."""
    prepared = assembly.prepared
    training = assembly.job.training
    metric, direction = prepared.best
    groups = assembly.objective.groups()
    parameters = {name: [p for p in module.parameters() if p.requires_grad] for name, module in groups.items()}
    optimizers = build_optimizers(training.optimizer, groups)
    schedules = tuple(
        Schedule(training.schedule, optimizer, prepared.steps, prepared.steps_per_epoch, direction)
        for group in optimizers.values()
        for optimizer in group
    )
    stopping, patience = None, 0
    if training.early_stopping:
        patience = training.early_stopping.patience
        watched = training.early_stopping.metric or metric
        stopping = Watched(watched, TASKS[assembly.job.task].metrics[watched.split("/")[0]])
    return TrainingState(assembly, parameters, optimizers, schedules, Watched(metric, direction), stopping, patience)


def _step(run: str, state: TrainingState, batch: Step, measured: bool) -> StepEnd:
    """Take one optimizer step, in as many turns as the objective asks for."""
    limit = state.assembly.job.training.gradient_clip
    learning_rate = state.schedules[0].learning_rate
    norm = None
    sums: Sums = {}
    assembly = state.assembly
    for turn in assembly.objective.turns(state.step):
        precision = assembly.job.training.precision
        sums |= accumulate(assembly.objective, state.parameters[turn], batch, turn, precision)
        if limit:
            norm = clip(state.parameters[turn], limit)
        elif measured:
            norm = gradient_norm(state.parameters[turn])
        for optimizer in state.optimizers[turn]:
            optimizer.step()
        for parameter in state.parameters[turn]:
            parameter.grad = None
    for schedule in state.schedules:
        schedule.step()
    state.step += 1
    state.unread.append(sums)
    losses = {term: mean(total, weight) for term, (total, weight) in sums.items()}
    if len(state.unread) >= CHECKED_STEPS:
        _read_losses(state)
    return StepEnd(run, state.epoch, state.step, losses, learning_rate, norm)


def _read_losses(state: TrainingState) -> None:
    """Add the losses of past steps to the epoch's; name the step at which they stopped being finite."""
    first = state.step - len(state.unread) + 1
    named = [(first + place, term, pair) for place, step in enumerate(state.unread) for term, pair in step.items()]
    state.unread.clear()
    values = torch.stack([torch.stack(pair).double() for _, _, pair in named]).tolist() if named else []
    for (step, term, _), (total, weight) in zip(named, values, strict=True):
        if not math.isfinite(total):
            place = f"step {step} (epoch {-(-step // state.assembly.prepared.steps_per_epoch)})"
            raise TrainingFailed(Cause.NON_FINITE, f"the {term} became {total} at {place}")
        before = state.sums.get(term, (0.0, 0.0))
        state.sums[term] = (before[0] + total, before[1] + weight)


def _epoch_metrics(state: TrainingState) -> dict[str, float]:
    """Close the epoch: its training loss as it was while training, and all metrics of the evaluated part."""
    _read_losses(state)
    watched = {state.best.metric, *([state.stopping.metric] if state.stopping else [])}
    running = {f"{term}/train": total / weight for term, (total, weight) in state.sums.items() if weight}
    state.sums.clear()
    parts = {state.assembly.prepared.evaluated_part, *(metric.split("/")[1] for metric in watched - running.keys())}
    metrics: dict[str, float] = {}
    for part in sorted(parts):
        for quantity, value in evaluate(state.assembly, part, state.assembly.job.training.precision).items():
            metrics[f"{quantity}/{part}"] = value
        if not math.isfinite(loss := metrics.get(f"loss/{part}", 0.0)):
            message = f"the loss of the {part} part is {loss} after step {state.step} (epoch {state.epoch})"
            raise TrainingFailed(Cause.NON_FINITE, message)
    return metrics | running


def _take_in(state: TrainingState, metrics: dict[str, float]) -> bool:
    """Keep the weights if they are the best so far, and tell schedules and early stopping of the epoch."""
    improved = state.best.better(metrics, state.epoch, state.step)
    if improved and state.assembly.prepared.keeps_best:
        state.best_weights = {name: value.clone() for name, value in state.assembly.objective.state_dict().items()}
    for schedule in state.schedules:
        schedule.epoch(metrics[state.best.metric])
    if state.stopping:
        state.stopping.better(metrics, state.epoch, state.step)
    return improved
