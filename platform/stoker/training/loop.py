"""The training loop: a generator of events; its caller decides how to report them and when to save the state."""

import math
import time
from collections.abc import Iterator

from torch import Tensor

from stoker.datasets.feeding.batches import Step
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
from stoker.training.events import EpochEnd, Event, StepEnd, TrainingEnd
from stoker.training.gradients import Sums, accumulate
from stoker.training.optimization import Schedule, build_optimizers
from stoker.training.reduction import GradientReducer
from stoker.training.sharding import ShardedGradients
from stoker.training.state import TrainingState

CHECKED_STEPS = 100
"""Losses are read this many steps at a time: reading each one would synchronise with the device."""


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
