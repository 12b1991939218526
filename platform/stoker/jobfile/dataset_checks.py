"""Checks of a dataset's settings against each other and against the task, as far as they need no data."""

from collections.abc import Iterator
from pathlib import Path

from stoker.errors import Problem
from stoker.job.architecture.choice import Architecture
from stoker.job.architecture.pretrained import Pretrained
from stoker.job.builtin import BUILTIN
from stoker.job.dataset import Columns, Dataset, Image, Mask, Split, Text
from stoker.job.formats import FORMATS, TABLE_SUFFIXES, fits
from stoker.job.section import Section
from stoker.job.task import TASKS, TEXTS, Kind, TaskName, TaskRow

SHARE_KEYS = {"column": ("time", "train", "val", "test", "stratify", "seed"), "time": ("stratify", "seed")}
"""Keys of `dataset.split` that do nothing where a column decides."""

LONG: dict[Kind, str] = {
    "continuation": "learns texts of any length in pieces",
    "replies": "leaves out the oldest turns of long dialogues",
}
"""What is done with long texts where neither truncating nor refusing them is a choice, by the kind of the target."""

ENCODED = ("csv", "jsonl", "conll", "squad", "text", "parallel")
"""Formats of text files."""

UNPREFIXED: frozenset[Kind] = frozenset({"continuation", "blanks", "answer", "replies", "word-tags"})
"""What is learnt of texts that nothing is put before: of the text itself, or of places in it."""


def column_problems(columns: Columns) -> Iterator[Problem]:
    """Check that no column has two roles."""
    for key in ("label", "weight", "group"):
        name = getattr(columns, key)
        if name is not None and name in columns.drop:
            yield Problem("dataset.columns.drop", f"'{name}' is the {key} column; it cannot be left out")
    features = columns.features or ()
    if columns.label is not None and columns.label in features:
        yield Problem("dataset.columns.features", f"'{columns.label}' is the label; it cannot be a feature")
    for name in sorted(set(features) & set(columns.drop)):
        yield Problem("dataset.columns.drop", f"'{name}' is also one of the features; list it in one place only")


def data_problems(dataset: Dataset, task: TaskName) -> Iterator[Problem]:
    """Check source, format, columns and image settings against the task."""
    row = TASKS[task]
    yield from split_problems(dataset, _has_columns(dataset, row))
    builtin = BUILTIN.get(dataset.source)
    if builtin and task not in builtin.tasks:
        message = f"'{dataset.source}' does not fit {task}; it is for {' or '.join(builtin.tasks)}"
        yield Problem("dataset.source", message)
    elif builtin and dataset.format:
        yield Problem("dataset.format", f"does nothing for '{dataset.source}', which is built in; leave it out")
    elif dataset.format and not fits(dataset.format, row):
        fitting = " or ".join(name for name in FORMATS if fits(name, row))
        yield Problem("dataset.format", f"{dataset.format} does not fit {task}; use {fitting}")
    form = "parquet" if dataset.source.endswith(".parquet") else dataset.format
    if dataset.encoding and (builtin or (form and form not in ENCODED)):
        what = f"'{dataset.source}', which is built in" if builtin else f"the format {form}, which is not text"
        yield Problem("dataset.encoding", f"does nothing for {what}; leave it out")
    if dataset.columns.clean and row.target not in ("category", "tags"):
        yield Problem("dataset.columns.clean", f"does nothing for {task}, which has no classes; leave it out")
    if dataset.columns.normal and row.target != "normality":
        yield Problem("dataset.columns.normal", f"does nothing for {task}, which finds no anomalies; leave it out")
    if dataset.columns.scaling and "number" not in row.inputs:
        yield Problem("dataset.columns.scaling", f"does nothing for {task}, which reads no numbers; leave it out")
    if not _has_columns(dataset, row):
        own = Columns(normal=dataset.columns.normal, scaling=dataset.columns.scaling)
        yield from without_effect("dataset.columns", dataset.columns, own, f"{task}, which has no columns")
    known = known_kinds(dataset)
    if "image" not in row.inputs or (known is not None and "image" not in known):
        yield from without_effect("dataset.image", dataset.image, Image(), f"{task}, which has no images")
    elif dataset.image.tile and row.target != "mask":
        message = f"does nothing for {task}, which looks at whole images; leave it out"
        yield Problem("dataset.image.tile", message)
    if row.target != "mask":
        yield from without_effect("dataset.mask", dataset.mask, Mask(), f"{task}, which has no masks")
    yield from text_problems(dataset, task)


def text_problems(dataset: Dataset, task: TaskName) -> Iterator[Problem]:
    """Check the settings of texts against the task."""
    row, known = TASKS[task], known_kinds(dataset)
    if dataset.text.prefix and row.target in UNPREFIXED:
        message = f"does nothing for {task}, whose texts are read as they stand; leave it out"
        yield Problem("dataset.text.prefix", message)
    if dataset.text.long != "cut" and row.target in LONG:
        yield Problem("dataset.text.long", f"does nothing for {task}, which {LONG[row.target]}; leave it out")
    if not row.of_texts or (known is not None and row.target not in TEXTS and TEXTS.isdisjoint(known)):
        yield from without_effect("dataset.text", dataset.text, Text(), f"{task}, which has no texts")


def known_kinds(dataset: Dataset) -> set[str] | None:
    """Return the kinds of a dataset's inputs, as far as they are known without its data; None if they are not."""
    builtin, columns = BUILTIN.get(dataset.source), dataset.columns
    if builtin:
        return set(builtin.kinds)
    if columns.features is not None and set(columns.features) <= set(columns.types):
        return {columns.types[name] for name in columns.features}
    return None


def split_problems(dataset: Dataset, has_columns: bool) -> Iterator[Problem]:
    """Check the split against the roles of the columns, and that none of its keys is without effect."""
    split, columns = dataset.split, dataset.columns
    by = "none" if split == "none" else "column" if split.column else "time" if split.time else ""
    if by and columns.group:
        written = "split: none" if by == "none" else f"dataset.split.{by}"
        yield Problem("dataset.columns.group", f"does nothing with {written}; leave it out")
    if split == "none" or not by:
        return
    for key in SHARE_KEYS[by]:
        if getattr(split, key) != getattr(Split(), key):
            yield Problem(f"dataset.split.{key}", f"does nothing with dataset.split.{by}; leave it out")
    name = getattr(split, by)
    if not has_columns:
        yield Problem(f"dataset.split.{by}", f"there is no column '{name}': the samples do not come from a table")
    if name in (columns.label, columns.weight):
        role = "label" if name == columns.label else "weight"
        yield Problem(f"dataset.split.{by}", f"'{name}' is the {role} column; the split needs a column of its own")
    if name in columns.drop:
        yield Problem("dataset.columns.drop", f"'{name}' is the column of the split; it cannot be left out")
    if by == "column" and name in (columns.features or ()):
        yield Problem("dataset.columns.features", f"'{name}' names the part of each row; it cannot be a feature")


def _has_columns(dataset: Dataset, row: TaskRow) -> bool:
    """Return whether the samples come, or may come, from a table or an archive with named columns."""
    if not {"number", *TEXTS}.isdisjoint(row.inputs):
        return True
    if dataset.format:
        return dataset.format in {*TABLE_SUFFIXES.values(), "npz", "webdataset"}
    source = dataset.source.lower()
    return source.endswith((*TABLE_SUFFIXES, ".npz", ".tar")) or "://" in source or _holds_tables(Path(dataset.source))


def _holds_tables(folder: Path) -> bool:
    """Return whether tables are in a folder, such as beside the images whose names they have."""
    try:
        return any(entry.name.lower().endswith(tuple(TABLE_SUFFIXES)) for entry in folder.iterdir())
    except OSError:  # it is no folder, or not on this machine
        return False


def tokenizer_problems(text: Text, architecture: Architecture | None, task: TaskName | None) -> Iterator[Problem]:
    """Check that nothing is set of a fitted tokenizer where there is another one, and that there is a use for it."""
    if text.tokenizer and task and "words" in TASKS[task].inputs and not isinstance(architecture, Pretrained):
        message = f"does nothing for {task} but with pretrained: other networks are given words; leave it out"
        yield Problem("dataset.text.tokenizer", message)
    elif text.tokenizer or isinstance(architecture, Pretrained):
        reason = "dataset.text.tokenizer" if text.tokenizer else "pretrained, which cuts texts by its model's tokenizer"
        own = Text(tokenizer=text.tokenizer, prefix=text.prefix, length=text.length, long=text.long)
        yield from without_effect("dataset.text", text, own, reason)


def without_effect(path: str, section: Section, default: Section, reason: str) -> Iterator[Problem]:
    """Name the settings of a section that are set although they do nothing."""
    for name in type(section).model_fields:
        if getattr(section, name) != getattr(default, name):
            yield Problem(f"{path}.{name}", f"does nothing for {reason}; leave it out")
