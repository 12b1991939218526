"""Optimizers and learning-rate schedules, as torch has them, for the parameter groups of an objective."""

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn
from torch.optim import SGD, Adam, AdamW, Muon, Optimizer
from torch.optim import lr_scheduler as schedulers

from stoker.spec import training as spec
from stoker.spec.section import span_steps
from stoker.spec.task import Direction

MUON_OTHERS = 0.1
"""AdamW's learning rate beside Muon, as a share of Muon's."""


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
    """The learning rates of one optimizer over a run."""

    def __init__(
        self, settings: spec.Schedule, optimizer: Optimizer, steps: int, steps_per_epoch: int, direction: Direction
    ) -> None:
        self._optimizer = optimizer
        optimizer._opt_called = True  # type: ignore[attr-defined]  # a group may rest in the first step; torch would warn
        self._plateau: schedulers.ReduceLROnPlateau | None = None
        warmup = min(span_steps(settings.warmup, steps, steps_per_epoch), max(steps - 1, 0))
        after = max(steps - warmup, 1)
        main: schedulers.LRScheduler
        match settings:
            case spec.Constant():
                main = schedulers.ConstantLR(optimizer, factor=1.0, total_iters=0)
            case spec.Cosine(floor=floor):
                lowest = floor * float(optimizer.param_groups[0]["lr"])
                main = schedulers.CosineAnnealingLR(optimizer, T_max=after, eta_min=lowest)
            case spec.Linear(floor=floor):
                main = schedulers.LinearLR(optimizer, start_factor=1.0, end_factor=floor, total_iters=after)
            case spec.OneCycle():
                top = [float(group["lr"]) for group in optimizer.param_groups]
                share = min(max(warmup / steps, 1e-6), 1.0)
                main = schedulers.OneCycleLR(  # the momentum stays what the job says
                    optimizer, max_lr=top, total_steps=steps + 1, pct_start=share, cycle_momentum=False
                )
                warmup = 0  # the rise is part of the cycle
            case spec.Step(every=every, factor=factor):
                distance = max(span_steps(every, steps, steps_per_epoch), 1)
                main = schedulers.StepLR(optimizer, step_size=distance, gamma=factor)
            case spec.Plateau(patience=patience, factor=factor):
                main = schedulers.ConstantLR(optimizer, factor=1.0, total_iters=0)
                self._plateau = schedulers.ReduceLROnPlateau(optimizer, direction, factor, patience, threshold=1e-4)
        self._scheduler = _warmed_up(main, optimizer, warmup)

    @property
    def learning_rate(self) -> float:
        """The rate of the next step."""
        return float(self._optimizer.param_groups[0]["lr"])

    def step(self) -> None:
        """Go on by one optimizer step."""
        self._scheduler.step()

    def epoch(self, metric: float) -> None:
        """Tell the metric that `plateau` watches."""
        if self._plateau is not None:
            self._plateau.step(metric)


def _warmed_up(main: schedulers.LRScheduler, optimizer: Optimizer, warmup: int) -> schedulers.LRScheduler:
    if warmup < 1:
        return main
    rise = schedulers.LinearLR(optimizer, start_factor=1 / (warmup + 1), total_iters=warmup)
    return schedulers.SequentialLR(optimizer, [rise, main], milestones=[warmup])


def gradient_norm(parameters: Sequence[Tensor]) -> Tensor:
    """Return the norm of all gradients together."""
    gradients = [p.grad for p in parameters if p.grad is not None]
    norm: Tensor = torch.linalg.vector_norm(torch.stack(torch._foreach_norm(gradients)))
    return norm


def clip(parameters: Sequence[Tensor], limit: float) -> Tensor:
    """Shorten the gradient to a largest norm; return the norm it had."""
    return nn.utils.clip_grad_norm_(parameters, limit)
