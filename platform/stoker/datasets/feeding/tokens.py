"""How many tokens of texts a network reads and learns to write in a step, without padding."""

import torch
from torch import Tensor

from stoker.datasets.columns import Ragged, Windows
from stoker.datasets.fields.schema import Fields
from stoker.datasets.fields.texts.target_text import TargetTextField
from stoker.datasets.samples import Samples
from stoker.datasets.tokens.tokenizer import PADDING


def token_counts(samples: Samples, fields: Fields) -> Tensor | None:
    """Return (N,) tokens of each sample on the CPU; None for samples without texts, or streamed ones.

    A sample that is read and written, such as a translation, counts both texts; a word of a sentence is one.
    """
    counts = [column.lengths() for column in samples.inputs.values() if isinstance(column, Ragged)]
    if isinstance(samples.target, Ragged) and isinstance(fields.target, TargetTextField):
        counts.append(samples.target.lengths().clamp(max=fields.target.output.length))
    if fields.layout.joins:
        counts += [_of_windows(each) for each in samples.inputs.values() if isinstance(each, Windows)]
    return torch.stack(counts).sum(dim=0).cpu() if counts else None


def _of_windows(column: Windows) -> Tensor:
    """Return (N,) tokens of each window: only the last one has padding."""
    counts = torch.full((len(column),), len(column.steps))
    if len(column):
        counts[-1] = int((column.values[column.starts[-1] + column.steps] != PADDING).sum())
    return counts


def tokens_of_steps(counts: Tensor | None, order: Tensor, batch_size: int, share: range) -> list[int]:
    """Return the tokens of a worker's samples in each step of an epoch; zeros where they are not counted.

    Args:
        counts: (N,) tokens of each sample, on the CPU.
        order: (N,) of the samples in the epoch, on the CPU.
        batch_size: samples of a step over all workers.
        share: the worker's rows of a whole batch.

    """
    steps = -(-len(order) // batch_size)
    if counts is None:
        return [0] * steps
    before = torch.zeros(len(order) + 1, dtype=torch.int64)
    before[1:] = counts[order].cumsum(0)
    first = torch.arange(steps) * batch_size
    begin, end = ((first + place).clamp(max=len(order)) for place in (share.start, share.stop))
    tokens: list[int] = (before[end] - before[begin]).tolist()
    return tokens
