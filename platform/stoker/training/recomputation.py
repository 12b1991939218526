"""Layers whose outputs are computed again in the backward pass instead of being kept: activation checkpoints."""

from functools import partial
from typing import Any

from torch import nn
from torch.utils.checkpoint import checkpoint

from stoker.training.sharding import layers


def recomputable(network: nn.Module) -> list[nn.Module]:
    """Return the layers that give the same outputs again: those without running statistics, which a pass changes."""
    return [layer for layer in layers(network) if not any(_has_statistics(part) for part in layer.modules())]


def recompute(network: nn.Module) -> None:
    """Keep only the inputs of the layers for the backward pass; gradients and random numbers stay the same."""
    for layer in recomputable(network):
        layer.forward = partial(_again, layer.forward)


def _again(forward: Any, *inputs: Any, **named: Any) -> Any:
    return checkpoint(forward, *inputs, use_reentrant=False, **named)


def _has_statistics(module: nn.Module) -> bool:
    return bool(getattr(module, "track_running_stats", False))
