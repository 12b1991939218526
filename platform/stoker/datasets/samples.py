"""Encoded samples: columns by name, target, weight, ids."""

from dataclasses import dataclass

import torch

from stoker.datasets.columns import Column, Ragged


@dataclass(frozen=True)
class Samples:
    """Samples ready for batching; every column has N rows."""

    inputs: dict[str, Column]
    """By the names of job.signature, as encoded by the fields: images are uint8."""
    target: Column | None
    """None for samples without one."""
    weight: torch.Tensor | None
    """(N,) float32 weight of each sample in the loss; None where all weigh 1."""
    ids: torch.Tensor
    """(N,) int64 number of each sample in its source."""
    shards: tuple[int, ...] = ()
    """Samples of each shard in order, if shards are streamed."""

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def nbytes(self) -> int:
        """Return the memory of the samples in bytes."""
        columns = [*self.inputs.values(), *([self.target] if self.target else [])]
        return self.ids.nbytes + sum(tensor.nbytes for column in columns for tensor in column.tensors.values())

    @property
    def lengths(self) -> torch.Tensor | None:
        """Return (N,) how many tokens each sample has, on the CPU; None if all have the same shape."""
        ragged = [each for each in (*self.inputs.values(), self.target) if isinstance(each, Ragged) and each.has_tokens]
        return torch.stack([each.lengths() for each in ragged]).sum(dim=0).cpu() if ragged else None

    def rows(self, index: torch.Tensor) -> "Samples":
        """Pick rows by number; the result is not divided into shards."""
        return Samples(
            {name: column.rows(index) for name, column in self.inputs.items()},
            None if self.target is None else self.target.rows(index),
            None if self.weight is None else self.weight.index_select(0, index),
            self.ids.index_select(0, index),
        )

    def to(self, device: torch.device) -> "Samples":
        """Move to a device."""
        return Samples(
            {name: column.to(device) for name, column in self.inputs.items()},
            None if self.target is None else self.target.to(device),
            None if self.weight is None else self.weight.to(device),
            self.ids.to(device),
            self.shards,
        )
