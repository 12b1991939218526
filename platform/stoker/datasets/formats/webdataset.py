"""WebDataset: tar archives ("shards") in which the files of a sample are adjacent and share a name.

https://github.com/webdataset/webdataset: a sample's name ends at the first dot, the rest is the type of the file.
"""

import json
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import pandas as pd

from stoker.datasets.folders import PART_NAMES, archive_paths, part_of
from stoker.datasets.formats.broken_files import read_as
from stoker.datasets.members import Member, read_location
from stoker.datasets.records import Files, RawColumn, Records
from stoker.errors import JobError, Problem
from stoker.job.dataset import Dataset
from stoker.job.formats import IMAGE_SUFFIXES

MASKS = frozenset({"mask", "seg", "segmentation"})
"""Words before an image's suffix that mark a mask: `mask.png`."""
COLUMNS = {"cls": "label", "txt": "text", "text": "text", "json": "json"}
"""Columns of other files, by their extension."""
TEXTS = frozenset({"label", "text"})
BLOCK = 512
"""Block size of tar archives in bytes; they end with at least one block of zeros."""


@dataclass(frozen=True)
class Shard:
    """The content of one archive."""

    name: str
    """Path of the archive, relative to its source."""
    keys: tuple[str, ...]
    """The name of each sample."""
    members: dict[str, tuple[Member, ...]]
    """By column; one member per sample."""


def read(path: Path, dataset: Dataset) -> Records:
    """Read the samples of one archive, or of all archives of a folder.

    Raises:
        JobError: an archive is broken or empty, or a sample lacks a file; the message names them.

    """
    paths = archive_paths(path) if path.is_dir() else [path]
    if not paths:
        raise _problem(f"there are no tar archives in '{path}'")
    root = path if path.is_dir() else path.parent
    shards = [read_shard(each, each.relative_to(root).as_posix()) for each in paths]
    first = shards[0]
    for shard in shards[1:]:
        if different := sorted(set(first.members) ^ set(shard.members)):
            raise _problem(f"{shard.name} and {first.name} differ in what their samples have: {', '.join(different)}")
    members = {name: tuple(member for shard in shards for member in shard.members[name]) for name in first.members}
    keys = tuple(f"{shard.name}/{key}" for shard in shards for key in shard.keys)
    records = records_of(keys, members, dataset)
    parts = [part_of_shard(shard.name) for shard in shards]
    named = all(parts) and "train" in parts
    return replace(records, parts=np.repeat(parts, [len(shard.keys) for shard in shards]) if named else None)


def part_of_shard(name: str) -> str:
    """Return the part in the path of an archive, such as `train/0001.tar` or `val-0001.tar`."""
    path = PurePosixPath(name)
    folders = (PART_NAMES.get(folder.lower(), "") for folder in path.parts[:-1])
    return next((part for part in folders if part), "") or part_of(Path(path.name))


def records_of(keys: tuple[str, ...], members: Mapping[str, tuple[Member, ...]], dataset: Dataset) -> Records:
    """Return records of samples: images stay files, small files are read.

    Raises:
        JobError: the content of a small file cannot be read.

    """
    columns: dict[str, RawColumn] = {}
    for name, places in members.items():
        files = Files(places)
        columns |= _objects(files) if name == "json" else {name: _content(files) if name in TEXTS else files}
    label = dataset.columns.label or next((name for name in ("label", "mask") if name in columns), "")
    return Records(columns, label, names=keys)


def read_shard(path: Path, shown: str) -> Shard:
    """List the samples of one archive without their content.

    Args:
        path: the archive.
        shown: its name for messages.

    Raises:
        JobError: it is broken or empty, or a sample lacks a file that the first one has.

    """
    samples: dict[str, dict[str, Member]] = {}
    for entry in read_as(shown, lambda: _listed(path)):
        folder, _, file = entry.name.rpartition("/")
        key, _, extension = file.partition(".")
        if (name := _column(extension)) is None:
            continue
        sample = samples.setdefault(f"{folder}/{key}" if folder else key, {})
        member = Member(path, f"{shown}/{entry.name}", entry.offset_data, entry.size)
        if name in sample:
            raise _problem(f"{sample[name].name} and {member.name} are both the {name} of one sample")
        sample[name] = member
    if not samples:
        raise _problem(f"the archive '{shown}' holds no samples; remove it, or pack it again")
    names = sorted(next(iter(samples.values())))
    for key, sample in samples.items():
        if different := sorted(set(names) ^ set(sample)):
            raise _problem(f"sample {key} in '{shown}' differs from the first one: {', '.join(different)}")
    members = {name: tuple(sample[name] for sample in samples.values()) for name in names}
    return Shard(shown, tuple(samples), members)


def _listed(path: Path) -> list[tarfile.TarInfo]:
    """List the files of an archive.

    Raises:
        ValueError: it is not a tar archive, or is compressed or truncated.

    """
    size = path.stat().st_size
    if size == 0:
        raise ValueError("it is empty")
    try:
        with tarfile.open(path, "r:") as archive:
            found = [entry for entry in archive if entry.isfile()]
            end = archive.offset
    except tarfile.ReadError as error:
        with path.open("rb") as file:
            packed = file.read(6).startswith((b"\x1f\x8b", b"BZh", b"\xfd7zXZ", b"\x28\xb5\x2f\xfd"))
        if packed:
            message = "it is compressed, so that single samples cannot be read; unpack it to a plain tar archive"
            raise ValueError(message) from error
        raise ValueError(f"not a whole tar archive ({error}); pack or copy it again") from error
    if end > size or size < (found[-1].offset_data + found[-1].size + BLOCK if found else BLOCK):
        raise ValueError("it ends too early; pack or copy it again")
    return found


def _column(extension: str) -> str | None:
    """Return the column of a file; None for files that are not part of samples."""
    words = extension.lower().split(".")
    if f".{words[-1]}" in IMAGE_SUFFIXES:
        return "mask" if MASKS & set(words) else "image"
    return COLUMNS.get(extension.lower())


def _content(files: Files) -> pd.Series:
    """Read small files as texts, without the trailing newline that many writers add."""
    return pd.Series([text.strip("\r\n") for text in _texts(files)], dtype=object)


def _objects(files: Files) -> dict[str, pd.Series]:
    """Read one JSON object per sample; its keys become columns."""
    rows: list[dict[str, Any]] = []
    for name, text in zip(files.names(), _texts(files), strict=True):
        try:
            row = json.loads(text)
        except ValueError as error:
            raise _problem(f"{name} is not JSON: {error}") from error
        if not isinstance(row, dict):
            raise _problem(f"{name} is not an object with keys")
        rows.append(row)
    frame = pd.DataFrame(rows)
    return {str(name): frame[name] for name in frame.columns}


def _texts(files: Files) -> list[str]:
    found: list[str] = []
    for name, place in zip(files.names(), files.paths, strict=True):
        content = read_as(name, partial(read_location, place))
        try:
            found.append(content.decode("utf-8"))
        except UnicodeDecodeError as error:
            raise _problem(f"{name} is not UTF-8 text; save it as UTF-8") from error
    return found


def _problem(message: str) -> JobError:
    return JobError([Problem("dataset.source", message)])
