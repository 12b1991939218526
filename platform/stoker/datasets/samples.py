"""Samples on their way from a file to a tensor: as read, and as encoded."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch

PARTS = ("train", "val", "test")


@dataclass(frozen=True)
class Table:
    """Rows as read from a file."""

    frame: pd.DataFrame
    label: str
    """The column to predict; empty when there is none, as for prediction."""
    parts: np.ndarray | None = None
    """Part of each row, where the source itself is split."""

    def __len__(self) -> int:
        return len(self.frame)


@dataclass(frozen=True)
class Pictures:
    """Pictures of one size as read from files."""

    pixels: np.ndarray
    """(N, height, width, channels) uint8."""
    labels: np.ndarray | None
    """(N,) class names; None when there are none, as for prediction."""
    names: tuple[str, ...]
    """What to call each picture in a message: its file, or its number."""
    parts: np.ndarray | None = None
    """Part of each picture, where the source itself is split."""

    def __len__(self) -> int:
        return len(self.pixels)


Raw = Table | Pictures


@dataclass(frozen=True)
class Samples:
    """Encoded samples, resident in memory; every tensor has N rows."""

    inputs: dict[str, torch.Tensor]
    """As job.signature says, but pictures still as uint8 (N, height, width, channels)."""
    target: torch.Tensor
    """int64 class numbers or float32 values."""
    weight: torch.Tensor | None
    """float32 weight of each sample in the loss; None where all weigh 1."""
    ids: torch.Tensor
    """int64 number of each sample in its source."""

    def __len__(self) -> int:
        return len(self.ids)

    def rows(self, index: torch.Tensor) -> "Samples":
        """Pick rows by number."""
        return Samples(
            {name: tensor.index_select(0, index) for name, tensor in self.inputs.items()},
            self.target.index_select(0, index),
            None if self.weight is None else self.weight.index_select(0, index),
            self.ids.index_select(0, index),
        )

    def to(self, device: torch.device) -> "Samples":
        """Move to a device."""
        return Samples(
            {name: tensor.to(device) for name, tensor in self.inputs.items()},
            self.target.to(device),
            None if self.weight is None else self.weight.to(device),
            self.ids.to(device),
        )
