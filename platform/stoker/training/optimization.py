"""Optimizers and learning-rate schedules for the parameter groups of an objective."""

import math
from collections.abc import Iterable, Sequence

from torch import Tensor, nn
from torch.optim import SGD, Adam, AdamW, Muon, Optimizer

from stoker.spec import training as spec
from stoker.spec.section import span_steps
from stoker.spec.task import Direction

MUON_OTHERS = 0.1
"""AdamW's learning rate beside Muon, as a share of Muon's."""
CYCLE_START, CYCLE_END = 1 / 25, 1 / 250_000
"""Ends of the one-cycle schedule, as shares of its top: torch's and fastai's."""


def build_optimizers(settings: spec.Optimizer, groups: dict[str, nn.Module]) -> dict[str, tuple[Optimizer, ...]]:
    """Build the optimizers of each named group: one, or two with Muon."""
    return {name: _optimizers(settings, module) for name, module in groups.items()}


def _optimizers(settings: spec.Optimizer, module: nn.Module) -> tuple[Optimizer, ...]:
    match settings:
        case spec.Sgd(lr=lr, momentum=momentum, nesterov=nesterov, weight_decay=decay):
            groups = _decayed(module.parameters(), decay)
            return (SGD(groups, lr=lr, momentum=momentum, nesterov=nesterov, fused=True),)
        case spec.Adam(lr=lr, betas=betas, weight_decay=decay):
            return (Adam(_decayed(module.parameters(), decay), lr=lr, betas=betas, fused=True),)
        case spec.AdamW(lr=lr, betas=betas, weight_decay=decay):
            return (AdamW(_decayed(module.parameters(), decay), lr=lr, betas=betas, fused=True),)
        case spec.Muon(lr=lr, momentum=momentum, weight_decay=decay):
            matrices, others = _hidden_matrices(module)
            rest = AdamW(_decayed(others, decay), lr=lr * MUON_OTHERS, fused=True)
            if not matrices:
                return (rest,)
            return (Muon(matrices, lr=lr, momentum=momentum, weight_decay=decay, adjust_lr_fn="match_rms_adamw"), rest)


def _decayed(parameters: Iterable[Tensor], decay: float) -> list[dict[str, object]]:
    """Decay matrices and kernels; never biases and normalisation, which decay only shifts."""
    everything = list(parameters)
    groups = [
        {"params": [p for p in everything if p.ndim >= 2], "weight_decay": decay},
        {"params": [p for p in everything if p.ndim < 2], "weight_decay": 0.0},
    ]
    return [group for group in groups if group["params"]]


def _hidden_matrices(module: nn.Module) -> tuple[list[Tensor], list[Tensor]]:
    """Muon is for the weights between hidden layers: two-dimensional, neither embedding nor output (Jordan 2024)."""
    linear = [layer.weight for layer in module.modules() if isinstance(layer, nn.Linear)]
    chosen = {id(weight) for weight in linear[:-1]}
    parameters = list(module.parameters())
    return [p for p in parameters if id(p) in chosen], [p for p in parameters if id(p) not in chosen]


class Schedule:
    """The learning rates of one optimizer over a run: a function of the step, but for the cuts of `plateau`."""

    def __init__(
        self, settings: spec.Schedule, optimizer: Optimizer, steps: int, steps_per_epoch: int, direction: Direction
    ) -> None:
        self._settings = settings
        self._groups = optimizer.param_groups
        self._tops = [float(group["lr"]) for group in self._groups]
        self._steps, self._steps_per_epoch = steps, steps_per_epoch
        self._sign = -1 if direction == "max" else 1
        self._step = 0
        self._cut = 1.0
        self._best, self._waited = math.inf, 0
        self._set()

    @property
    def learning_rate(self) -> float:
        """The rate of the next step."""
        return float(self._groups[0]["lr"])

    def step(self) -> None:
        """Go on by one optimizer step."""
        self._step += 1
        self._set()

    def epoch(self, metric: float) -> None:
        """Tell the metric that `plateau` watches."""
        if not isinstance(self._settings, spec.Plateau):
            return
        if self._sign * metric < self._best:
            self._best, self._waited = self._sign * metric, 0
        else:
            self._waited += 1
        if self._waited > self._settings.patience:
            self._cut, self._waited = self._cut * self._settings.factor, 0
            self._set()

    def _set(self) -> None:
        factor = self._cut * rate_factor(self._settings, self._step, self._steps, self._steps_per_epoch)
        for group, top in zip(self._groups, self._tops, strict=True):
            group["lr"] = top * factor


def rate_factor(settings: spec.Schedule, step: int, steps: int, steps_per_epoch: int) -> float:
    """Return the share of the learning rate that a schedule gives a step, counted from 0, of a run of `steps`."""
    warmup = min(span_steps(settings.warmup, steps, steps_per_epoch), steps - 1)
    if step < warmup:
        share = step / warmup
        return _bent(CYCLE_START, 1, share) if isinstance(settings, spec.OneCycle) else (step + 1) / (warmup + 1)
    share = min((step - warmup) / (steps - warmup), 1.0)
    match settings:
        case spec.Cosine(floor=floor):
            return _bent(1, floor, share)
        case spec.Linear(floor=floor):
            return 1 + (floor - 1) * share
        case spec.OneCycle():
            return _bent(1, CYCLE_END, share)
        case spec.Step(every=every, factor=factor):
            return factor ** ((step - warmup) // max(span_steps(every, steps, steps_per_epoch), 1))
        case _:
            return 1.0


def _bent(start: float, end: float, share: float) -> float:
    """Go from start to end along half a cosine."""
    return end + (start - end) * (1 + math.cos(math.pi * share)) / 2


def gradient_norm(parameters: Sequence[Tensor]) -> Tensor:
    """Return the norm of all gradients together."""
    gradients = [p.grad for p in parameters if p.grad is not None]
    return nn.utils.get_total_norm(gradients)


def clip(parameters: Sequence[Tensor], limit: float) -> Tensor:
    """Shorten the gradient to a largest norm; return the norm it had."""
    return nn.utils.clip_grad_norm_(parameters, limit)
