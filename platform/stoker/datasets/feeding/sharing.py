"""Encoded datasets on disk: written by the first process of a machine that needs one, memory-mapped by all."""

import hashlib
import json
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pandas as pd
import torch

import stoker
from stoker.datasets.cache import local_path, open_cache
from stoker.datasets.columns import Column, Dense, Ragged, Windows
from stoker.datasets.dataset import LoadedDataset
from stoker.datasets.fields.schema import Fields
from stoker.datasets.fields.texts.text import TOKENIZER_KEY
from stoker.datasets.model_files import read_tokenizer
from stoker.datasets.samples import Samples
from stoker.datasets.sources.path import PathSource
from stoker.errors import JobError, StokerError
from stoker.job.builtin import BUILTIN
from stoker.job.dataset import Dataset
from stoker.job.formats import TABLE_SUFFIXES
from stoker.job.task import TaskRow

MIN_BYTES = 16 << 20
"""Smaller sources are faster to read than to look up."""
COLUMNS: dict[str, type[Dense] | type[Ragged] | type[Windows]] = {"dense": Dense, "ragged": Ragged, "windows": Windows}
TENSORS, FACTS, EXAMPLE = "tensors.pt", "dataset.json", "example.parquet"


def load_shared(dataset: Dataset, task: TaskRow, load: Callable[[], LoadedDataset]) -> LoadedDataset:
    """Return the dataset of `load`, from disk if a process of this machine has loaded it before.

    Concurrent processes wait for the first one, and all of them map the same memory.

    Raises:
        JobError: as `load` does.

    """
    key = _key(dataset, task)
    if not key:
        return load()
    entry = open_cache().derived(dataset.source, key)
    with entry.exclusive():
        if not entry.is_complete():
            data = load()
            if not _fits(data):
                return data
            try:
                entry.add(_files(data))
            except (StokerError, OSError):  # a full or read-only disk
                return data
        return _read(entry.tree)


def _key(dataset: Dataset, task: TaskRow) -> str:
    """Return a key of the data and how it is read; empty for small, built-in or unreadable data."""
    if dataset.source in BUILTIN:
        return ""
    source = PathSource(str(local_path(dataset.source)))
    try:
        listed = [(file.name, file.size, file.version) for file in source.files()]
    except JobError:
        return ""  # reading it reports the error
    if sum(size or 0 for _, size, _ in listed) < MIN_BYTES:
        return ""
    tokenizer = read_tokenizer(dataset.text.tokenizer, TOKENIZER_KEY) if dataset.text.tokenizer else ""
    identity = [dataset.model_dump_json(), repr(task), str(source.path), repr(sorted(listed)), _code(), tokenizer]
    return hashlib.sha256("\0".join(identity).encode()).hexdigest()[:24]


@cache
def _code() -> str:
    """Return the version of the encoding code, with the time of its last change."""
    files = Path(__file__).parents[1].rglob("*.py")
    return f"{stoker.__version__} {max(file.stat().st_mtime_ns for file in files)}"


def _fits(data: LoadedDataset) -> bool:
    """Return whether all of it is in memory and from the source; paths in a table refer to files that may change."""
    if data.fields.signature.images and data.spec.format in TABLE_SUFFIXES.values():
        return False
    columns = [column for part in data.parts.values() for column in (*part.inputs.values(), part.target) if column]
    return all(isinstance(column, tuple(COLUMNS.values())) for column in columns)


def _files(data: LoadedDataset) -> dict[str, Callable[[Path], object]]:
    """Return a function to write each file."""
    tensors: dict[str, torch.Tensor] = {}
    kinds: dict[str, dict[str, str]] = {}
    for part, samples in data.parts.items():
        kinds[part] = {}
        tensors[f"{part}/ids"] = samples.ids
        if samples.weight is not None:
            tensors[f"{part}/weight"] = samples.weight
        for name, column in _columns(samples).items():
            kinds[part][name] = next(kind for kind, each in COLUMNS.items() if isinstance(column, each))
            tensors |= {f"{part}/{name}/{key}": tensor for key, tensor in column.tensors.items()}
    example = data.example
    if not isinstance(example, pd.DataFrame):
        tensors["example"] = torch.from_numpy(example)
    facts = {
        "spec": data.spec.model_dump(mode="json"),
        "fields": data.fields.to_json(),
        "assets": data.fields.assets(),
        "counts": data.counts,
        "names": data.names,
        "fingerprint": data.fingerprint,
        "notes": data.notes,
        "kinds": kinds,
    }
    files: dict[str, Callable[[Path], object]] = {
        TENSORS: lambda path: torch.save({name: each.contiguous() for name, each in tensors.items()}, path),
        FACTS: lambda path: path.write_text(json.dumps(facts), encoding="utf-8"),
    }
    return {**files, EXAMPLE: example.to_parquet} if isinstance(example, pd.DataFrame) else files


def _columns(samples: Samples) -> dict[str, Column]:
    """Return the columns by name; `target` and `inputs/NAME`."""
    inputs = {f"inputs/{name}": column for name, column in samples.inputs.items()}
    return {**inputs, **({"target": samples.target} if samples.target else {})}


def _read(folder: Path) -> LoadedDataset:
    facts: dict[str, Any] = json.loads((folder / FACTS).read_text(encoding="utf-8"))
    tensors: dict[str, torch.Tensor] = torch.load(folder / TENSORS, mmap=True, weights_only=True)
    parts = {}
    for part, kinds in facts["kinds"].items():
        columns = {}
        for name, kind in kinds.items():
            begin = f"{part}/{name}/"
            arguments = {key.removeprefix(begin): each for key, each in tensors.items() if key.startswith(begin)}
            columns[name] = COLUMNS[kind](**arguments)
        inputs = {name.removeprefix("inputs/"): each for name, each in columns.items() if name != "target"}
        parts[part] = Samples(
            dict(inputs), columns.get("target"), tensors.get(f"{part}/weight"), tensors[f"{part}/ids"]
        )
    example = folder / EXAMPLE
    return LoadedDataset(
        spec=Dataset.model_validate(facts["spec"]),
        fields=Fields.from_json(facts["fields"], facts["assets"]),
        parts=parts,
        counts=facts["counts"],
        names=tuple(facts["names"]),
        fingerprint=facts["fingerprint"],
        notes=tuple(facts["notes"]),
        example=pd.read_parquet(example) if example.exists() else tensors["example"].numpy(),
    )
