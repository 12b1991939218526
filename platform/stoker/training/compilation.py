"""Layers as kernels of their own, by torch.compile: one layer is compiled, and its code serves all that are like it."""

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import nn

from stoker.training.sharding import layers

GRAPHS = 64
"""Most compiled forms of one kind of layer: by its width, by full and last batches, by training and evaluation. With
more, torch computes the rest uncompiled; its own limit of 8 is reached by a network of four stages."""


def uncompiled(network: nn.Module) -> AbstractContextManager[object]:
    """Return the context in which layers compute as they are: each token of a text has another shape."""
    if any(module._compiled_call_impl is not None for module in network.modules()):
        eager: AbstractContextManager[object] = torch.compiler.set_stance("force_eager")
        return eager
    return nullcontext()


def compile_layers(network: nn.Module, forgiving: bool = True) -> None:
    """Compile each layer when it first computes; a network without lists of layers is compiled as a whole.

    Args:
        network: to compile.
        forgiving: whether a layer that cannot be compiled computes as it is, with a warning in the log.

    """
    torch._dynamo.config.suppress_errors = forgiving
    torch._dynamo.config.recompile_limit = max(GRAPHS, torch._dynamo.config.recompile_limit)
    for module in layers(network) or [network]:
        module.compile()
