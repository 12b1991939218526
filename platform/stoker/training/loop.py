"""The training loop: a generator of events; its caller decides how to report them and when to save the state."""

import math
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.optim import Optimizer

from stoker.datasets.feeding.batches import Batches, Step
from stoker.errors import Cause, TrainingFailed
from stoker.job.section import time_seconds
from stoker.job.task import TASKS
from stoker.randomness import seed_process
from stoker.tasks.objective import Count
from stoker.training.assembly import Assembly
from stoker.training.averaging import WeightAverage
from stoker.training.best_metric import BestMetric
from stoker.training.evaluation import evaluate, look_through, with_loss
from stoker.training.evaluation_epochs import measures_all
from stoker.training.gradients import Sums, accumulate, mean
from stoker.training.optimization import Schedule, build_optimizers
from stoker.training.reduction import GradientReducer
from stoker.training.sharding import ShardedGradients
from stoker.training.throughput import Throughput

CHECKED_STEPS = 100
"""Losses are read this many steps at a time: reading each one would synchronise with the device."""
SHOWN_SAMPLES = 8


@dataclass(frozen=True)
class StepEnd:
    """An optimizer step is done."""

    run: str
    epoch: int
    step: int
    """Steps done so far."""
    sums: Sums
    """Total and count of each term over the global batch; still on the device."""
    learning_rates: dict[str, float]
    """Rate of each stepped group."""
    gradient_norms: dict[str, Tensor]
    """Norm of each group; empty if it was neither requested nor needed for clipping."""

    @property
    def losses(self) -> dict[str, Tensor]:
        """Mean of each term over the global batch, on the device."""
        return {term: mean(total, count) for term, (total, count) in self.sums.items()}


@dataclass(frozen=True)
class EpochEnd:
    """An epoch is done and the network evaluated; the state is consistent here."""

    run: str
    epoch: int
    """Epochs done so far."""
    step: int
    metrics: dict[str, float]
    """Keys are quantity/part, such as accuracy/val."""
    improved: bool
    """Whether these are the best weights so far."""
    last: bool = False
    """Whether training ends here."""


@dataclass(frozen=True)
class TrainingEnd:
    """Training is over; the objective holds the best weights."""

    run: str
    step: int
    best_epoch: int
    best_step: int
    """Epoch and step of the weights that the objective holds."""
    reason: str
    """Why training ended: length, time, or early stopping."""


Event = StepEnd | EpochEnd | TrainingEnd


@dataclass
class TrainingState:
    """Everything that changes during training; consistent whenever the loop yields a StepEnd or an EpochEnd."""

    assembly: Assembly
    batches: Batches
    reducers: dict[str, GradientReducer | ShardedGradients]
    """Parameters that each turn changes, with the sums of their gradients over the workers."""
    optimizers: dict[str, tuple[Optimizer, ...]]
    schedules: dict[str, Schedule]
    best: BestMetric
    stopping: BestMetric | None
    patience: int
    """Epochs without improvement before early stopping."""
    epoch: int = 0
    """Epochs done so far."""
    batch: int = 0
    """Steps of this epoch done so far."""
    step: int = 0
    """Steps done so far."""
    seconds: float = 0.0
    """Training time before this attempt."""
    reason: str = ""
    """Why training ended; empty until then."""
    best_weights: dict[str, Tensor] = field(default_factory=dict)
    average: WeightAverage | None = None
    """Moving average of the weights, if the job has one."""
    unread: list[Sums] = field(default_factory=list)
    """Losses of steps not read yet."""
    sums: dict[str, tuple[float, float]] = field(default_factory=dict)
    """Total and weight of each term over the epoch."""
    began: float = field(default_factory=time.monotonic)
    throughput: Throughput = field(default_factory=Throughput)

    def weights(self) -> dict[str, Tensor]:
        """Return the state that is the same on every worker: parameters and replicated buffers, by qualified name.

        Weights of a pretrained model that training leaves as they are do not belong to it.
        """
        objective = self.assembly.objective
        others = {*objective.carried, *objective.unchanged_weights()}
        return {name: value for name, value in objective.state_dict().items() if name not in others}

    def averaged(self) -> AbstractContextManager[None]:
        """Exchange the weights for their averages meanwhile, if the job has them: evaluation uses these."""
        return self.average.in_place() if self.average else nullcontext()

    def trained_s(self) -> float:
        """Seconds trained so far, over all attempts."""
        return self.seconds + time.monotonic() - self.began

    def read_losses(self) -> None:
        """Add the losses of past steps to the epoch's.

        Raises:
            TrainingFailed: a loss is not finite; the message names the step and its samples.

        """
        first = self.step - len(self.unread) + 1
        named = [(first + place, term, pair) for place, step in enumerate(self.unread) for term, pair in step.items()]
        self.unread.clear()
        totals, weights = _read([total for _, _, (total, _) in named]), _read([count for _, _, (_, count) in named])
        for (step, term, _), total, weight in zip(named, totals, weights, strict=True):
            if not math.isfinite(total):
                raise TrainingFailed(Cause.NON_FINITE, f"the {term} became {total} at {self._describe_step(step)}")
            before = self.sums.get(term, (0.0, 0.0))
            self.sums[term] = (before[0] + total, before[1] + weight)

    def _describe_step(self, step: int) -> str:
        """Return a description of a step of this epoch and its samples: of those with non-finite values, if any."""
        ids = self.batches.ids(self.epoch, self.batch - (self.step - step) - 1)
        broken = self.assembly.nonfinite_samples(ids)
        shown = broken or ids
        rest = f" and {len(shown) - SHOWN_SAMPLES} more" if len(shown) > SHOWN_SAMPLES else ""
        samples = ", ".join(self.assembly.data.name_of(number) for number in shown[:SHOWN_SAMPLES]) + rest
        what = "of which these have values that are not finite" if broken else "samples"
        return f"step {step} (epoch {self.epoch + 1}; {what}: {samples})"


def start(assembly: Assembly) -> TrainingState:
    """Return the state before the first step, and seed the process's own random generators."""
    prepared = assembly.prepared
    training = assembly.job.training
    metric, direction = prepared.best
    groups = assembly.objective.groups()
    optimizers = build_optimizers(training.optimizer, groups)
    kind = ShardedGradients if assembly.sharded else GradientReducer
    reducers = {
        name: kind([p for p in module.parameters() if p.requires_grad], assembly.workers)
        for name, module in groups.items()
    }
    schedules = {
        name: Schedule(training.schedule, each, prepared.steps, prepared.steps_per_epoch, direction)
        for name, each in optimizers.items()
    }
    stopping, patience = None, 0
    if training.early_stopping:
        patience = training.early_stopping.patience
        watched = training.early_stopping.metric or metric
        quantities = TASKS[assembly.job.task].metrics
        stopping = BestMetric(watched, quantities.get(watched.split("/")[0], "min"))
    seed_process(training.seed + assembly.workers.rank)
    state = TrainingState(
        assembly,
        assembly.batches(),
        reducers,
        optimizers,
        schedules,
        BestMetric(metric, direction),
        stopping,
        patience,
    )
    state.average = WeightAverage(state.weights(), training.ema) if training.ema else None
    return state


def train(run: str, state: TrainingState, norm_every: int = 1) -> Iterator[Event]:
    """Train from a state to the end, after which the objective holds the best weights.

    Args:
        run: the run's id, carried by every event.
        state: where to start; it advances with every event.
        norm_every: the gradient norm is measured at steps divisible by this.

    Raises:
        TrainingFailed: the loss is no longer a finite number.

    """
    objective, steps = state.assembly.objective, state.assembly.prepared.steps
    objective.train()
    evaluated = state.assembly.job.training.evaluate
    while not state.reason:
        if state.batch == 0:
            objective.begin_epoch(len(state.assembly.share()))
        late = False
        watch = state.assembly.workers.stopwatch
        watch.start()
        state.throughput.start()
        for batch in state.batches.epoch(state.epoch, state.batch):
            if state.step >= steps or (late := _time_is_up(state)):
                break
            end = _step(run, state, batch, measured=(state.step + 1) % norm_every == 0)
            watch.end_step()
            state.throughput.stop(batch.tokens)
            yield end
            watch.start()
            state.throughput.start()
        watch.stop()
        state.read_losses()
        state.throughput.stop()
        state.epoch, state.batch = state.epoch + 1, 0
        waiting = _data_wait(state)
        running = _running_losses(state)
        all_metrics = late or state.step >= steps or measures_all(evaluated, state.epoch)
        if state.average:
            _share_buffers(state)  # below, those of the average are shared
        with state.averaged():
            metrics = _epoch_metrics(state, running, all_metrics)
            state.reason = _reason(state, metrics, late)
            if state.reason and not all_metrics:  # it turned out to be the last epoch
                metrics = _epoch_metrics(state, running, expensive=True)
            improved = _record_metrics(state, metrics)
        yield EpochEnd(run, state.epoch, state.step, metrics | waiting, improved, last=bool(state.reason))
    if state.best_weights:
        objective.load_state_dict(state.best_weights, strict=False)  # without carried buffers
    elif state.average:
        state.average.install()
    kept = state.best if state.best_weights else state
    yield TrainingEnd(run, state.step, kept.epoch, kept.step, state.reason)


def _data_wait(state: TrainingState) -> dict[str, float]:
    """Return the share of this attempt's training time in which steps have waited for data to be decoded."""
    prefetcher = state.batches.prefetcher
    return {"data_wait/train": prefetcher.waited_s / (time.monotonic() - state.began)} if prefetcher else {}


def _time_is_up(state: TrainingState) -> bool:
    """Return whether the job's time limit is reached, by the first worker's clock."""
    limit = state.assembly.job.training.time
    if limit is None:
        return False
    return state.assembly.workers.broadcast_numbers([state.trained_s()])[0] >= time_seconds(limit)


def _reason(state: TrainingState, metrics: dict[str, float], late: bool) -> str:
    """Return why training is over, empty if it is not; early stopping only counts epochs that have its metric."""
    stopping = state.stopping
    if stopping:
        stopping.update(metrics, state.epoch, state.step)
    if state.step >= state.assembly.prepared.steps:
        return "length"
    if late or _time_is_up(state):
        return "time"
    if stopping and stopping.metric in metrics and state.epoch - stopping.epoch >= state.patience:
        return "early stopping"
    return ""


def _step(run: str, state: TrainingState, batch: Step, measured: bool) -> StepEnd:
    """Take one optimizer step in as many turns as the objective has."""
    assembly = state.assembly
    objective, training = assembly.objective, assembly.job.training
    rates: dict[str, float] = {}
    norms: dict[str, Tensor] = {}
    sums: Sums = {}
    for turn in objective.turns(state.step):
        reducer = state.reducers[turn]
        for term, pair in accumulate(objective, reducer, batch, turn, training.precision, assembly.workers).items():
            sums[term] = _added(sums[term], pair) if term in sums else pair
        if training.gradient_clip:
            norms[turn] = reducer.clip(training.gradient_clip)
        elif measured:
            norms[turn] = reducer.norm()
        rates[turn] = state.schedules[turn].learning_rate
        for optimizer in state.optimizers[turn]:
            optimizer.step()
        for parameter in reducer.parameters:
            parameter.grad = None
    objective.after_step()
    state.step += 1
    state.batch += 1
    if state.average:
        state.average.follow(state.step)
    for schedule in state.schedules.values():
        schedule.go_to(state.step)
    state.unread.append(sums)
    if len(state.unread) >= CHECKED_STEPS:
        state.read_losses()
    return StepEnd(run, state.epoch, state.step, sums, rates, norms)


def _read(numbers: Sequence[Count]) -> list[float]:
    """Read scalars, those on a device at once."""
    tensors = [number for number in numbers if isinstance(number, Tensor)]
    if not tensors or len(tensors) < len(numbers):
        return [float(number) for number in numbers]
    values: list[float] = torch.stack(tensors).double().tolist()
    return values


def _added(one: tuple[Tensor, Count], other: tuple[Tensor, Count]) -> tuple[Tensor, Count]:
    """Add up the same term of two turns of a step."""
    return one[0] + other[0], one[1] + other[1]


def _running_losses(state: TrainingState) -> dict[str, float]:
    """Return the mean training losses of the epoch, measured while training, and reset their sums."""
    means = with_loss({term: total / weight for term, (total, weight) in state.sums.items() if weight})
    state.sums.clear()
    return {f"{term}/train": value for term, value in means.items()}


def _epoch_metrics(state: TrainingState, running: dict[str, float], expensive: bool) -> dict[str, float]:
    """Return the running losses with the metrics of the evaluated part, expensive ones only if requested."""
    assembly, row = state.assembly, TASKS[state.assembly.job.task]
    if assembly.workers.rank == 0:
        look_through(assembly)
    _share_buffers(state)
    named = {state.best.metric, *([state.stopping.metric] if state.stopping else [])}
    watched = {metric for metric in named if expensive or row.measures_always(metric)}
    parts = {assembly.prepared.evaluated_part, *(metric.split("/")[1] for metric in watched - running.keys())}
    metrics: dict[str, float] = {}
    for part in sorted(parts):
        for quantity, value in evaluate(assembly, part, assembly.job.training.precision, expensive, quick=True).items():
            metrics[f"{quantity}/{part}"] = value
        if not math.isfinite(loss := metrics.get(f"loss/{part}", 0.0)):
            message = f"the loss of the {part} part is {loss} after step {state.step} (epoch {state.epoch})"
            raise TrainingFailed(Cause.NON_FINITE, message)
    metrics |= running
    if missing := watched - metrics.keys():
        there = ", ".join(sorted(metrics))
        raise TrainingFailed(Cause.BAD_DATA, f"the objective does not measure {', '.join(missing)} (it has: {there})")
    return metrics


def _share_buffers(state: TrainingState) -> None:
    """Give all workers the running statistics of the first one."""
    objective = state.assembly.objective
    shared = [buffer for name, buffer in objective.named_buffers() if name not in objective.carried]
    state.assembly.workers.broadcast(shared)


def _record_metrics(state: TrainingState, metrics: dict[str, float]) -> bool:
    """Keep the weights if they are the best so far, and pass the metric to the schedules."""
    improved = state.best.update(metrics, state.epoch, state.step)
    if improved and state.assembly.prepared.keeps_best:
        state.best_weights = {name: value.clone() for name, value in state.weights().items()}
    for schedule in state.schedules.values():
        schedule.epoch(metrics.get(state.best.metric))
        schedule.go_to(state.step)
    return improved
