"""Report on a dataset: columns, classes, sizes, lengths, duplicates, and leaks between parts."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd

from stoker.datasets.dialogues.messages import holds_messages, read_dialogues
from stoker.datasets.fields.category import as_text
from stoker.datasets.fields.inference import INSPECTED_ROWS, Roles, holds_image_paths, inferred_type
from stoker.datasets.fields.lists import holds_lists, read_lists
from stoker.datasets.fields.number import as_numbers
from stoker.datasets.members import read_location
from stoker.datasets.pictures.headers import image_sizes
from stoker.datasets.records import Files, RawColumn, Records, in_memory
from stoker.datasets.tokens.words import words_of
from stoker.datasets.values.boxes import Boxed, boxes_summary, holds_boxes
from stoker.datasets.values.times import as_times, time_format

COMMON = 0.5
"""Share of duplicates above which repetition is a property of the data, not a mistake."""
IMBALANCED = 20
"""Ratio of the largest to the smallest class above which a warning is given."""
FEWEST = 5
"""Samples that a class needs."""
MANY_CATEGORIES = 100
SHOWN = 3


@dataclass(frozen=True)
class ColumnReport:
    """One column."""

    name: str
    kind: str
    """number, time, category, text, list, dialogue, image, mask or boxes."""
    missing: int
    distinct: int | None
    """None where it is meaningless, as for images."""
    summary: str
    """Range, most frequent values, lengths or sizes."""


@dataclass(frozen=True)
class DataReport:
    """The report of `stoker data`."""

    samples: int
    columns: tuple[ColumnReport, ...]
    parts: dict[str, dict[str, int]]
    """Samples of each class in each part; under "" if there are no classes."""
    duplicates: int
    """Samples equal to an earlier one."""
    warnings: tuple[str, ...]
    dialect: str = ""
    """How the files were read, in words; empty for formats that leave no choice."""


def column_reports(records: Records) -> Iterator[ColumnReport]:
    """Yield a report on each raw column."""
    for name, column in records.columns.items():
        if isinstance(column, pd.Series):
            yield _cells(name, column)
        elif isinstance(column, Files):
            sizes = image_sizes(column)
            kind = "mask" if name == "mask" else "image"
            yield ColumnReport(name, kind, 0, None, _sizes(sizes))
        else:
            size = "x".join(map(str, column.shape[1:]))
            yield ColumnReport(name, "mask" if name == "mask" else "image", 0, None, f"all {size}")


def _cells(name: str, column: pd.Series) -> ColumnReport:
    missing = int(column.isna().sum())
    known = column.dropna()
    distinct = int(known.nunique())
    if holds_boxes(column):
        return ColumnReport(name, "boxes", missing, None, boxes_summary([Boxed.read(text) for text in known]))
    if holds_image_paths(column):
        return ColumnReport(name, "image", missing, distinct, "paths of files")
    if holds_messages(column):
        lengths = [len(each) for each in read_dialogues(known, name, plain=True)]
        summary = f"{min(lengths)} to {max(lengths)} messages, median {int(np.median(lengths))}"
        return ColumnReport(name, "dialogue", missing, distinct, summary)
    if holds_lists(column, INSPECTED_ROWS):
        lists = read_lists(known, str.split)
        lengths, different = [len(each) for each in lists], len({value for each in lists for value in each})
        summary = f"{min(lengths)} to {max(lengths)} values, median {int(np.median(lengths))}, {different:,} different"
        return ColumnReport(name, "list", missing, distinct, summary)
    if inferred_type(column) == "number":
        values = as_numbers(column)
        values = values[~np.isnan(values)]
        missing = len(column) - len(values)
        spread = (values.min(), values.max(), np.median(values)) if len(values) else ()
        summary = "{:g} to {:g}, median {:g}".format(*spread) if spread else ""
        return ColumnReport(name, "number", missing, distinct, summary)
    if written := time_format(column):
        times = as_times(column, written).dropna()
        return ColumnReport(name, "time", len(column) - len(times), distinct, f"{times.min()} to {times.max()}")
    words = np.array([len(words_of(text)) for text in as_text(known)])
    if distinct > MANY_CATEGORIES or (len(words) and words.mean() > SHOWN):
        summary = f"{words.min()} to {words.max()} words, median {int(np.median(words))}" if len(words) else ""
        return ColumnReport(name, "text", missing, distinct, summary)
    counted = pd.Series(as_text(known)).value_counts()
    common = ", ".join(f"{value} ({count:,})" for value, count in counted.head(SHOWN).items())
    return ColumnReport(name, "category", missing, distinct, common + (", ..." if len(counted) > SHOWN else ""))


def _sizes(sizes: list[tuple[int, int]]) -> str:
    if not sizes:
        return ""
    different = sorted(set(sizes))
    if len(different) == 1:
        return f"all {different[0][0]}x{different[0][1]}"
    heights, widths = [height for height, _ in sizes], [width for _, width in sizes]
    span = f"{min(heights)} to {max(heights)} high, {min(widths)} to {max(widths)} wide"
    return f"{len(different)} sizes: {span}"


def sample_hashes(records: Records, roles: Roles) -> np.ndarray:
    """Return (N,) uint64: equal for samples whose inputs are equal."""
    cells = {name: records.columns[name] for name in roles.inputs}
    frame = pd.DataFrame({name: column for name, column in cells.items() if isinstance(column, pd.Series)})
    hashes = np.zeros(len(records), np.uint64)
    if len(frame.columns):
        hashes ^= pd.util.hash_pandas_object(frame, index=False).to_numpy(np.uint64)
    for column in cells.values():
        if not isinstance(column, pd.Series):
            hashes = hashes * np.uint64(31) + _content_hashes(column)
    return hashes


def _content_hashes(column: RawColumn) -> np.ndarray:
    content = in_memory(column)
    if content is None:
        assert isinstance(column, Files)
        digests = [hashlib.blake2b(read_location(path), digest_size=8).digest() for path in column.paths]
    else:
        digests = [hashlib.blake2b(np.ascontiguousarray(each).data, digest_size=8).digest() for each in content]
    return np.frombuffer(b"".join(digests), np.uint64)


def duplicate_count(hashes: np.ndarray) -> int:
    """Count the samples equal to an earlier one."""
    return int(pd.Series(hashes).duplicated().sum())


def leak_warnings(hashes: np.ndarray, parts: np.ndarray, records: Records) -> Iterator[str]:
    """Yield a warning for each held-out part with samples that are also in the training part."""
    if duplicate_count(hashes) > COMMON * len(hashes):
        return
    train = hashes[parts == "train"]
    for part in ("val", "test"):
        places = np.flatnonzero(parts == part)
        leaked = places[pd.Series(hashes[places]).isin(train).to_numpy()]
        if len(leaked):
            names = [records.names[i] if records.names else f"row {i + 1}" for i in leaked[:SHOWN]]
            more = f" and {len(leaked) - SHOWN} more" if len(leaked) > SHOWN else ""
            found = f"{len(leaked)} of {len(places)} samples of {part} are also in train"
            yield f"{found} ({', '.join(names)}{more}): its score is too good"


def class_warnings(counts: dict[str, dict[str, int]]) -> Iterator[str]:
    """Yield warnings about rare classes and imbalance."""
    train = {name: count for name, count in counts.get("train", {}).items() if name}
    if len(train) < 2:
        return
    parts = {name: [part for part, found in counts.items() if found[name]] for name in train}
    single = {name for name in train if sum(found[name] for found in counts.values()) == 1}
    if single:
        yield f"classes with a single sample: {_some([f'{name} (in {parts[name][0]})' for name in sorted(single)])}"
    if few := [f"{name} ({count})" for name, count in train.items() if count < FEWEST and name not in single]:
        yield f"too few training samples to learn {_some(few)}"
    largest, smallest = max(train, key=lambda name: train[name]), min(train, key=lambda name: train[name])
    if train[largest] > IMBALANCED * max(train[smallest], 1):
        times = train[largest] // max(train[smallest], 1)
        yield f"class {largest} has {times} times the samples of {smallest}: accuracy says little, look at f1"


def _some(names: list[str]) -> str:
    """Join the first names, and count the others."""
    return ", ".join(names[:SHOWN]) + (f" and {len(names) - SHOWN} more" if len(names) > SHOWN else "")
