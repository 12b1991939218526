"""Writes the last answer of dialogues, always with the likeliest token."""

import torch
from torch import Tensor, nn

from stoker.datasets.tokens.tokenizer import PADDING
from stoker.tasks.writing.sampling import NEVER_WRITTEN, reader


def last_answers(target: Tensor) -> tuple[Tensor, Tensor]:
    """Return (B,) where the last tokens to learn in a row begin, and the place behind them; 0 of a row without any."""
    learnt = (target != PADDING).long()
    width = target.shape[1]
    behind = width - learnt.flip(1).argmax(dim=1)
    behind = torch.where(learnt.any(dim=1), behind, 0)
    places = torch.arange(width, device=target.device)
    gaps = (learnt == 0) & (places < behind.unsqueeze(1))
    begins = torch.where(gaps, places + 1, 0).amax(dim=1) if width else behind
    return begins, behind


def likeliest(
    network: nn.Module,
    name: str,
    tokens: Tensor,
    begins: Tensor,
    longest: int,
    ends: frozenset[int],
    context: int,
) -> Tensor:
    """Return (B, longest) the likeliest answers, with their end, padded.

    Args:
        network: in evaluation mode.
        name: of the dialogues among its inputs.
        tokens: (B, width) dialogues.
        begins: (B,) the place of the last token before the answer.
        longest: most tokens of an answer.
        ends: tokens that end one.
        context: most tokens that the network reads.

    """
    divided = any(hasattr(parameter, "to_local") for parameter in network.parameters())  # among workers, by FSDP
    if divided:
        return _in_step(network, name, tokens, begins, longest, ends, context)
    found = torch.full((len(tokens), longest), PADDING, dtype=torch.int64, device=tokens.device)
    for begin in sorted(set(begins.tolist())):  # equal lengths need no padding, which a memory would keep
        rows = (begins == begin).nonzero().flatten()
        reading = reader(network, name, context)
        unread, memory = tokens[rows, : begin + 1], reading.begin(len(rows))
        for step in range(min(longest, context - begin)):
            logits, memory = reading.read(unread, memory)
            chosen = _chosen(logits[:, -1], found[rows, step - 1] if step else None, ends)
            found[rows, step] = chosen
            if bool((_ended(chosen, ends) | (chosen == PADDING)).all()):
                break
            unread = chosen.unsqueeze(1)
    return found


def _in_step(
    network: nn.Module, name: str, tokens: Tensor, begins: Tensor, longest: int, ends: frozenset[int], context: int
) -> Tensor:
    """Do the same by whole forward passes, always as many: other workers hold parts of the weights."""
    found = torch.full((len(tokens), longest), PADDING, dtype=torch.int64, device=tokens.device)
    rows = torch.arange(len(tokens), device=tokens.device)
    together = nn.functional.pad(tokens, (0, longest))[:, :context].clone()
    last = together.shape[1] - 1
    for step in range(longest):
        place = (begins + step).clamp(max=last)
        logits = network({name: together})
        chosen = _chosen(logits[rows, place], found[:, step - 1] if step else None, ends)
        found[:, step] = torch.where(begins + step <= last, chosen, PADDING)
        together[rows, (place + 1).clamp(max=last)] = torch.where(
            place < last, found[:, step], together[rows, (place + 1).clamp(max=last)]
        )
    return found


def _chosen(logits: Tensor, before: Tensor | None, ends: frozenset[int]) -> Tensor:
    """Return (B,) the likeliest tokens; padding behind an end."""
    logits = logits.float().clone()
    logits[:, list(NEVER_WRITTEN)] = float("-inf")
    likely = logits.argmax(dim=1)
    if before is None:
        return likely
    return torch.where(_ended(before, ends) | (before == PADDING), PADDING, likely)


def _ended(tokens: Tensor, ends: frozenset[int]) -> Tensor:
    return torch.isin(tokens, torch.tensor(sorted(ends), device=tokens.device))
