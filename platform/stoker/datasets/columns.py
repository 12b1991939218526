"""Storage of a column's encoded values, and gathering those of a batch."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, Self, runtime_checkable

import numpy as np
import torch
from torch import Tensor


class Column(ABC):
    """Encoded values, one per sample."""

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def take(self, index: Tensor) -> Tensor:
        """Gather the values of some rows as one tensor (B, ...)."""

    @abstractmethod
    def rows(self, index: Tensor) -> "Column":
        """Pick rows by number, as an independent copy."""

    @abstractmethod
    def to(self, device: torch.device) -> "Column":
        """Move to a device."""

    @property
    @abstractmethod
    def tensors(self) -> dict[str, Tensor]:
        """Return the column's tensors by the names of its constructor's parameters."""


@dataclass(frozen=True)
class Dense(Column):
    """Values of one shape."""

    values: Tensor
    """(N, ...)."""

    def __len__(self) -> int:
        return len(self.values)

    def take(self, index: Tensor) -> Tensor:
        """Return (B, ...)."""
        return self.values.index_select(0, index)

    def rows(self, index: Tensor) -> "Dense":
        """Copy some rows."""
        return Dense(self.values.index_select(0, index))

    def to(self, device: torch.device) -> "Dense":
        """Move to a device."""
        return Dense(self.values.to(device))

    @property
    def tensors(self) -> dict[str, Tensor]:
        """Return the values."""
        return {"values": self.values}


@dataclass(frozen=True)
class Ragged(Column):
    """Sequences of different lengths, concatenated."""

    values: Tensor
    """(total, ...) all sequences."""
    offsets: Tensor
    """(N + 1,) int64: sequence i is values[offsets[i]:offsets[i + 1]]."""
    whole: Tensor | None = None
    """(N, ...) int32 length of what each sequence was cut from, on the CPU; None where nothing was cut off."""

    @staticmethod
    def of(sequences: Sequence[Sequence[int] | np.ndarray]) -> "Ragged":
        """Concatenate sequences of integers."""
        offsets = torch.zeros(len(sequences) + 1, dtype=torch.int64)
        offsets[1:] = torch.tensor([len(each) for each in sequences], dtype=torch.int64).cumsum(0)
        together = np.concatenate([np.asarray(each, np.int64) for each in sequences] or [np.zeros(0, np.int64)])
        return Ragged(torch.from_numpy(together), offsets)

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @property
    def has_tokens(self) -> bool:
        """Return whether its values are tokens, by whose number samples are sorted; numbers, as of boxes, are none."""
        return not self.values.is_floating_point()

    def lengths(self) -> Tensor:
        """Return (N,) the length of each sequence."""
        return self.offsets.diff()

    def take(self, index: Tensor) -> Tensor:
        """Return (B, longest, ...), padded with 0 at the end of each sequence; at least one value wide."""
        begin = self.offsets[index]
        length = self.offsets[index + 1] - begin
        width = max(1, int(length.max())) if len(index) else 1
        steps = torch.arange(width, device=index.device)
        inside = steps < length.unsqueeze(1)
        places = (begin.unsqueeze(1) + steps).clamp(max=max(len(self.values) - 1, 0))
        values = self.values if len(self.values) else self.values.new_zeros(1, *self.values.shape[1:])
        return values[places] * inside.view(*inside.shape, *(1 for _ in self.values.shape[1:]))

    def rows(self, index: Tensor) -> "Ragged":
        """Copy some rows."""
        begin, length = self.offsets[index], self.lengths()[index]
        offsets = torch.zeros(len(index) + 1, dtype=torch.int64, device=index.device)
        offsets[1:] = length.cumsum(0)
        places = torch.arange(int(offsets[-1]), device=index.device)
        places = places + (begin - offsets[:-1]).repeat_interleave(length)
        return Ragged(self.values[places], offsets, None if self.whole is None else self.whole[index.cpu()])

    def to(self, device: torch.device) -> "Ragged":
        """Move to a device."""
        return Ragged(self.values.to(device), self.offsets.to(device), self.whole)

    @property
    def tensors(self) -> dict[str, Tensor]:
        """Return values and offsets, and the lengths before anything was cut off."""
        stored = {"values": self.values, "offsets": self.offsets}
        return stored if self.whole is None else {**stored, "whole": self.whole}


@dataclass(frozen=True)
class Windows(Column):
    """Overlapping parts of long arrays, such as series, of which nothing is copied before a batch takes it."""

    values: Tensor
    """(total, ...) all arrays, one behind the other."""
    starts: Tensor
    """(N,) int64: the place where each window starts."""
    steps: Tensor
    """(length,) int64, not negative: the places of a window, counted from its start."""

    def __len__(self) -> int:
        return len(self.starts)

    def take(self, index: Tensor) -> Tensor:
        """Return (B, length, ...)."""
        return self.values[self.starts[index].unsqueeze(1) + self.steps]

    def rows(self, index: Tensor) -> "Windows":
        """Pick windows, and copy the stretch of the arrays from the first one to the last one."""
        starts = self.starts[index]
        if not len(starts):
            return Windows(self.values[:0].clone(), starts, self.steps.clone())
        begin, end = int(starts.min()), int(starts.max() + self.steps.max()) + 1
        return Windows(self.values[begin:end].clone(), starts - begin, self.steps.clone())

    def to(self, device: torch.device) -> "Windows":
        """Move to a device."""
        return Windows(self.values.to(device), self.starts.to(device), self.steps.to(device))

    @property
    def tensors(self) -> dict[str, Tensor]:
        """Return values, starts and steps."""
        return {"values": self.values, "starts": self.starts, "steps": self.steps}


class Stored(Protocol):
    """Samples that are not in memory, such as files; picklable."""

    def __len__(self) -> int: ...

    def rows(self, index: np.ndarray) -> Self:
        """Pick some by number."""


class Prefetch(Protocol):
    """Fetches the samples of coming steps."""

    def advance(self, step: int) -> None:
        """Report the current step, counted from 0."""


@runtime_checkable
class Fetched(Protocol):
    """Stored samples that are fetched from a server shortly before the step that needs them."""

    def prefetch(self, steps: Sequence[np.ndarray]) -> Prefetch:
        """Start to fetch the samples of coming steps, given their indices."""


@dataclass(frozen=True)
class Lazy(Column):
    """Values read and decoded on access; worker processes prefetch them."""

    stored: Stored
    decode: Callable[[Any], Tensor]
    """Returns (B, ...) for B stored samples; picklable."""

    def __len__(self) -> int:
        return len(self.stored)

    def take(self, index: Tensor) -> Tensor:
        """Decode some rows, on the CPU."""
        return self.decode(self.stored.rows(index.cpu().numpy()))

    def rows(self, index: Tensor) -> "Lazy":
        """Pick rows by number."""
        return Lazy(self.stored.rows(index.cpu().numpy()), self.decode)

    def to(self, device: torch.device) -> "Lazy":
        """Return the column itself: it holds no tensors."""
        return self

    @property
    def tensors(self) -> dict[str, Tensor]:
        """Return an empty dictionary: no value is in memory."""
        return {}


def joined(columns: Sequence[Column]) -> Column:
    """Concatenate columns that share one tensor of the network: (N, a) and (N, b) become (N, a + b)."""
    if len(columns) == 1:
        return columns[0]
    dense = [column.values for column in columns if isinstance(column, Dense)]
    assert len(dense) == len(columns)
    return Dense(torch.cat(dense, dim=1))
