"""torch's optimizers, and learning rates as functions of the step, for the groups of an objective."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from torch import Tensor, nn
from torch.optim import SGD, Adam, AdamW, Muon, Optimizer

from stoker.errors import JobError, Problem
from stoker.job import training as rules
from stoker.job.section import span_steps
from stoker.job.task import Direction
from stoker.training.sharding import is_sharded

MUON_OTHERS = 0.1
"""Learning rate of the AdamW for all other parameters, relative to Muon's."""


def build_optimizers(
    settings: rules.OptimizerOrGroups, groups: dict[str, nn.Module]
) -> dict[str, tuple[Optimizer, ...]]:
    """Build the optimizers of each named group: one, or two with Muon.

    Raises:
        JobError: the job's groups are not those of the objective.

    """
    if not isinstance(settings, dict):
        return {name: _optimizers(settings, module) for name, module in groups.items()}
    if problems := group_problems(settings, groups):
        raise JobError(problems)
    return {name: _optimizers(settings[name], module) for name, module in groups.items()}


def group_problems(named: Iterable[str], groups: Iterable[str]) -> list[Problem]:
    """Check that a job has optimizers for exactly the groups of the objective."""
    named, there = list(named), list(groups)
    message = f"this network has {'one group' if len(there) == 1 else 'the groups'} {', '.join(there)}"
    problems = [
        Problem(f"training.optimizer.{name}", f"no such group; {message}") for name in named if name not in there
    ]
    if missing := [name for name in there if name not in named]:
        problems.append(Problem("training.optimizer", f"lacks {', '.join(missing)}; {message}"))
    return problems


def _optimizers(settings: rules.Optimizer, module: nn.Module) -> tuple[Optimizer, ...]:
    parameters = [each for each in module.parameters() if each.requires_grad]
    match settings:
        case rules.Sgd(lr=lr, momentum=momentum, nesterov=nesterov, weight_decay=decay):
            groups = _decayed(parameters, decay)
            fused = not any(is_sharded(parameter) for parameter in parameters)  # torch cannot do both
            return (SGD(groups, lr=lr, momentum=momentum, nesterov=nesterov, fused=fused),)
        case rules.Adam(lr=lr, betas=betas, weight_decay=decay):
            return (Adam(_decayed(parameters, decay), lr=lr, betas=betas, fused=True),)
        case rules.AdamW(lr=lr, betas=betas, weight_decay=decay):
            return (AdamW(_decayed(parameters, decay), lr=lr, betas=betas, fused=True),)
        case rules.Muon(lr=lr, momentum=momentum, weight_decay=decay):
            matrices, others = _hidden_matrices(module)
            rest = AdamW(_decayed(others, decay), lr=lr * MUON_OTHERS, fused=True)
            if not matrices:
                return (rest,)
            return (Muon(matrices, lr=lr, momentum=momentum, weight_decay=decay, adjust_lr_fn="match_rms_adamw"), rest)


def _decayed(parameters: Iterable[Tensor], decay: float) -> list[dict[str, object]]:
    """Return parameter groups: matrices and kernels with weight decay, biases and normalisation without."""
    everything = list(parameters)
    groups = [
        {"params": [p for p in everything if p.ndim >= 2], "weight_decay": decay},
        {"params": [p for p in everything if p.ndim < 2], "weight_decay": 0.0},
    ]
    return [group for group in groups if group["params"]]


def _hidden_matrices(module: nn.Module) -> tuple[list[Tensor], list[Tensor]]:
    """Return Muon's parameters, the trained 2-D weights of hidden layers (Jordan 2024), and all others."""
    linear = [layer.weight for layer in module.modules() if isinstance(layer, nn.Linear)]
    chosen = {id(weight) for weight in linear[:-1]}
    parameters = [each for each in module.parameters() if each.requires_grad]
    return [p for p in parameters if id(p) in chosen], [p for p in parameters if id(p) not in chosen]


@dataclass
class Plateau:
    """State of torch's ReduceLROnPlateau, with a relative threshold of 1e-4."""

    best: float = math.inf
    """Signed so that lower is better."""
    idle: int = 0
    """Epochs without improvement."""
    factor: float = 1.0
    """Current factor of the learning rate."""


class Schedule:
    """The learning rates of some optimizers over a run.

    Each rate is a function of the step alone (and of the cuts of `plateau`), so that a resumed run continues exactly.
    """

    def __init__(
        self,
        settings: rules.Schedule,
        optimizers: Sequence[Optimizer],
        steps: int,
        steps_per_epoch: int,
        direction: Direction,
    ) -> None:
        self._settings = settings
        self._groups = [(group, float(group["lr"])) for optimizer in optimizers for group in optimizer.param_groups]
        self._steps = steps
        self._steps_per_epoch = steps_per_epoch
        self._warmup = min(span_steps(settings.warmup, steps, steps_per_epoch), max(steps - 1, 0))
        self._sign = -1 if direction == "max" else 1
        self._plateau = Plateau()
        self.go_to(0)

    @property
    def learning_rate(self) -> float:
        """The rate of the next step, of the first optimizer."""
        return float(self._groups[0][0]["lr"])

    def go_to(self, step: int) -> None:
        """Set the rates for the step that follows `step` steps."""
        factor = self._factor(step) * self._plateau.factor
        for group, top in self._groups:
            group["lr"] = top * factor

    def epoch(self, metric: float | None) -> None:
        """Update `plateau` with its metric; it takes effect from the next step on.

        An epoch without it counts towards the patience, but only one that has it reduces the rate.
        """
        if not isinstance(self._settings, rules.Plateau):
            return
        state = self._plateau
        if metric is None:
            state.idle += 1
            return
        value = metric * self._sign
        if value < state.best - 1e-4 * abs(state.best) or math.isinf(state.best):
            state.best, state.idle = (value, 0) if math.isfinite(value) else (state.best, state.idle + 1)
        else:
            state.idle += 1
        if state.idle > self._settings.patience:
            state.factor, state.idle = state.factor * self._settings.factor, 0

    def facts(self) -> dict[str, Any]:
        """Return the state that does not follow from the step."""
        return asdict(self._plateau)

    def restore(self, facts: dict[str, Any]) -> None:
        """Restore the state that `facts` returned."""
        self._plateau = Plateau(**facts)

    def _factor(self, step: int) -> float:
        """Return the rate of the step that follows `step` steps, as a share of the peak rate."""
        settings, warmup = self._settings, self._warmup
        if isinstance(settings, rules.OneCycle):
            return _one_cycle(step, warmup, self._steps)
        if step < warmup:
            return (step + 1) / (warmup + 1)
        done = min((step - warmup) / max(self._steps - warmup, 1), 1.0)
        match settings:
            case rules.Cosine(floor=floor):
                return floor + (1 - floor) * (1 + math.cos(math.pi * done)) / 2
            case rules.Linear(floor=floor):
                return 1 - (1 - floor) * done
            case rules.Step(every=every, factor=factor):
                distance = max(span_steps(every, self._steps, self._steps_per_epoch), 1)
                return float(factor ** ((step - warmup) // distance))
        return 1.0


START, END = 1 / 25, 1 / 250_000
"""Shares of the peak rate at which a cycle starts and ends (the factors of torch's OneCycleLR)."""


def _one_cycle(step: int, rise: int, steps: int) -> float:
    """Return the share of the peak rate: half a cosine up, another one down."""
    if step < rise:
        return START + (1 - START) * (1 - math.cos(math.pi * step / rise)) / 2
    done = min((step - rise) / max(steps - rise, 1), 1.0)
    return END + (1 - END) * (1 + math.cos(math.pi * done)) / 2
