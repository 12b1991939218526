"""Writes texts token by token: each is drawn from what a network expects to follow."""

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from stoker.datasets.tokens.tokenizer import END, MASK, PADDING, UNKNOWN
from stoker.tasks.abilities import CanContinue, can_continue
from stoker.tasks.objective import NoiseLike
from stoker.tasks.writing.settings import Writing

NEVER_WRITTEN = (PADDING, UNKNOWN, MASK)


def continued(
    network: nn.Module, name: str, context: int, prompt: Sequence[int], rows: int, writing: Writing, noise: NoiseLike
) -> Iterator[Tensor]:
    """Yield what follows a prompt, (rows,) tokens at a time, without end; behind an END comes anything.

    Args:
        network: of text-generation, in evaluation mode.
        name: of the text among its inputs.
        context: most tokens that it reads at once.
        prompt: at least one token.
        rows: texts that are written at the same time.
        writing: how tokens are drawn; length and stop are for the caller.
        noise: of so many rows.

    """
    device = next(network.parameters()).device
    reading = reader(network, name, context)
    tokens = torch.tensor(list(prompt), device=device).expand(rows, -1)
    memory = reading.begin(rows)
    begin = max(len(prompt) - context, 0)
    while True:
        logits, memory = reading.read(tokens[:, begin:], memory)
        begin = 0
        chosen = drawn(logits[:, -1].float(), writing, noise)
        yield chosen
        tokens = chosen.unsqueeze(1)


def reader(network: nn.Module, name: str, context: int) -> CanContinue:
    """Return what reads a text token by token: the network, or one that reads all again with each new token."""
    return network if can_continue(network) else _Rereading(network, name, context)


def drawn(logits: Tensor, writing: Writing, noise: NoiseLike) -> Tensor:
    """Draw (B,) tokens from (B, vocabulary) logits."""
    logits = logits.clone()
    logits[:, list(NEVER_WRITTEN)] = float("-inf")
    if writing.temperature == 0:
        return logits.argmax(dim=1)
    ordered, tokens = (logits / writing.temperature).sort(dim=1, descending=True, stable=True)
    if writing.top_k is not None:
        ordered[:, writing.top_k :] = float("-inf")
    shares = ordered.softmax(dim=1)
    if writing.top_p is not None:
        before = shares.cumsum(dim=1) - shares
        shares = shares.masked_fill(before >= writing.top_p, 0.0)
    ends = shares.cumsum(dim=1)
    point = noise.uniform().to(ends.device).unsqueeze(1) * ends[:, -1:]
    place = torch.searchsorted(ends, point, right=True).clamp(max=ends.shape[1] - 1)
    last = (shares > 0).sum(dim=1, keepdim=True) - 1
    return tokens.gather(1, torch.minimum(place, last)).squeeze(1)


def until_end(tokens: Sequence[int]) -> list[int]:
    """Return the tokens of a text before its end."""
    found = list(tokens)
    return found[: found.index(END)] if END in found else found


class _Rereading:
    """Lets a network without memory continue texts: it reads the last tokens again for each new one."""

    def __init__(self, network: nn.Module, name: str, context: int) -> None:
        self._network, self._name, self._context = network, name, context

    def begin(self, rows: int) -> Any:
        return torch.zeros(rows, 0, dtype=torch.int64, device=next(self._network.parameters()).device)

    def read(self, tokens: Tensor, memory: Tensor) -> tuple[Tensor, Tensor]:
        together = torch.cat([memory, tokens], dim=1)[:, -self._context :]
        return self._network({self._name: together}), together
