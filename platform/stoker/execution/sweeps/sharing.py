"""Datasets in Ray's object store: loaded once per node, and read in place by all of its processes."""

import warnings
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from stoker.datasets.columns import Column
from stoker.datasets.dataset import LoadedDataset
from stoker.datasets.samples import Samples


@dataclass(frozen=True)
class SharedDataset:
    """A dataset whose tensors are arrays: Ray maps arrays instead of copying them."""

    rest: LoadedDataset
    """The dataset without its parts."""
    parts: dict[str, dict[str, Any]]
    """Arrays of each part: inputs by name, target, weight, ids; and the sizes of its shards."""


def to_shared(data: LoadedDataset) -> SharedDataset:
    """Prepare a dataset for the object store."""
    parts = {
        name: {
            "inputs": {key: _shared_column(column) for key, column in part.inputs.items()},
            "target": None if part.target is None else _shared_column(part.target),
            "weight": None if part.weight is None else part.weight.numpy(),
            "ids": part.ids.numpy(),
            "shards": part.shards,
        }
        for name, part in data.parts.items()
    }
    return SharedDataset(replace(data, parts={}), parts)


def from_shared(shared: SharedDataset) -> LoadedDataset:
    """Rebuild the dataset on the same memory, which is read-only."""
    parts = {
        name: Samples(
            inputs={key: _column(arrays) for key, arrays in part["inputs"].items()},
            target=None if part["target"] is None else _column(part["target"]),
            weight=None if part["weight"] is None else _tensor(part["weight"]),
            ids=_tensor(part["ids"]),
            shards=part["shards"],
        )
        for name, part in shared.parts.items()
    }
    return replace(shared.rest, parts=parts)


def _shared_column(column: Column) -> Column | tuple[type[Column], dict[str, np.ndarray]]:
    if not column.tensors:
        return column
    return type(column), {name: tensor.numpy() for name, tensor in column.tensors.items()}


def _column(shared: Column | tuple[type[Column], dict[str, np.ndarray]]) -> Column:
    if isinstance(shared, Column):
        return shared
    kind, arrays = shared
    return kind(**{name: _tensor(array) for name, array in arrays.items()})


def _tensor(array: np.ndarray) -> torch.Tensor:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
        return torch.from_numpy(array)
