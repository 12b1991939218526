"""Chooses input and target columns and their kinds: declared by the job, or inferred from the values."""

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from stoker.datasets.dialogues.messages import EXAMPLE, holds_messages
from stoker.datasets.fields.category import as_text
from stoker.datasets.fields.lists import holds_lists, read_lists
from stoker.datasets.fields.number import as_numbers, check_range
from stoker.datasets.records import Files, RawColumn, Records
from stoker.datasets.values.numerals import notation
from stoker.datasets.values.times import time_format
from stoker.errors import JobError, Problem
from stoker.job.dataset import Columns, Dataset
from stoker.job.formats import IMAGE_SUFFIXES, SQUAD_COLUMNS
from stoker.job.task import Kind, TaskRow

IMAGES = "images"
"""Usual name of a folder of images."""
MESSAGES = "messages"
"""Usual name of a column of dialogues."""
MAX_CATEGORIES = 100
MIN_REPEATS = 2.0
"""Average number of rows per value; text that repeats less does not generalise to new rows."""
INSPECTED_ROWS = 1000
_ID = re.compile(r"(?i:(\A|[\W_])id\Z)|[a-z]I[dD]\Z")
"""The name of an identifier column: id, user_id, UserId; not paid."""


@dataclass(frozen=True)
class Roles:
    """The input columns with their kinds, and the target column."""

    inputs: dict[str, Kind]
    target: str
    """Empty if there is none."""
    notes: tuple[str, ...]
    """Why columns are left out."""


def infer_roles(records: Records, dataset: Dataset, row: TaskRow) -> Roles:
    """Choose inputs, with their kinds, and target of a task from the columns of records.

    Named features are always kept. Otherwise columns with another role are not used; columns with one value, row
    numbers, and text that hardly repeats (names, tickets) are left out, each with a note.

    Raises:
        JobError: no input column is left.

    """
    columns, split = dataset.columns, dataset.split
    target = records.label if records.label in records.columns else ""
    aside = {target, columns.weight, columns.group, *columns.drop}
    if split != "none":
        aside |= {split.column, split.time}
    candidates = columns.features or tuple(name for name in records.columns if name not in aside)
    found: dict[str, Kind] = {}
    notes = []
    for name in candidates:
        kind, reason = _kind(records, name, columns, row)
        if kind:
            found[name] = kind
            column = records.columns[name]
            if kind == "text" and name not in columns.types and isinstance(column, pd.Series) and not is_text(column):
                notes.append(f"column '{name}' holds no texts, but numbers or the like, which are read as words")
        else:
            notes.append(f"column '{name}' is left out: {reason}")
    if row.alone and "image" in found.values() and not columns.features:
        aside_of = [name for name, kind in found.items() if kind != "image"]
        notes += [f"column '{name}' is left out: the image is the sample" for name in aside_of]
        found = {name: kind for name, kind in found.items() if kind == "image"}
    if row.texts > 1:
        found, more = _question_and_context(records, found, bool(columns.features))
        notes += more
    elif row.inputs in (("text",), ("dialogue",)) and not columns.features and len(found) > 1:
        found, more = _longest(records, found)
        notes += more
    if row.inputs == ("words",) and not columns.features and len(found) > 1:
        found, more = _richest(records, found)
        notes += more
    if not found and len(records):
        message = f"no column is left to predict from: {'; '.join(notes) or 'there is only the label'}"
        raise JobError([Problem("dataset.columns.features", message)])
    for name, kind in found.items():
        if kind == "number":
            check_range(name, records.columns[name], "dataset.source")
    order: dict[Kind, int] = {kind: place for place, kind in enumerate(row.inputs)}
    return Roles(dict(sorted(found.items(), key=lambda item: order[item[1]])), target, tuple(notes))


def _kind(records: Records, name: str, columns: Columns, row: TaskRow) -> tuple[Kind | None, str]:
    """Return the kind of a column, or None and the reason for leaving it out."""
    column = records.columns[name]
    if not isinstance(column, pd.Series):
        kind: Kind = "mask" if column is records.columns.get("mask") else "image"
        return (kind, "") if kind in row.inputs else (None, f"{kind}s do not fit the task")
    declared: Kind | None = columns.types.get(name)
    if declared:
        return (declared, "") if declared in row.inputs else (None, f"the task does not learn from a {declared}")
    if row.inputs == ("text",):
        return ("text", "") if columns.features or is_text(column) else (None, "it holds no text")
    if row.inputs == ("dialogue",):
        fits = columns.features or name == MESSAGES or (records.label and is_text(column)) or holds_messages(column)
        return ("dialogue", "") if fits else (None, f"it holds no lists of messages such as {EXAMPLE}")
    if row.inputs == ("words",):
        fits = columns.features or holds_lists(column, INSPECTED_ROWS)
        return ("words", "") if fits else (None, "it holds no lists of words")
    if "image" in row.inputs and holds_image_paths(column):
        return "image", ""
    if "number" not in row.inputs:
        return None, "it holds no paths of images"
    reason = None if columns.features else _reason_to_skip(column, name)
    kind = inferred_type(column)
    if not reason and kind not in row.inputs:
        reason = f"{kind}s do not fit the task"
    return (None, reason) if reason else (kind, "")


def inferred_type(column: pd.Series) -> Kind:
    """Return whether a column holds numbers or times, also such as are written as text, or categories."""
    if pd.api.types.is_bool_dtype(column):
        return "category"
    if pd.api.types.is_numeric_dtype(column) or notation(column):
        return "number"
    return "time" if time_format(column) else "category"


def is_text(column: pd.Series) -> bool:
    """Return whether a column holds texts: neither numbers nor truth values."""
    return inferred_type(column) == "category" and not pd.api.types.is_bool_dtype(column)


def holds_image_paths(column: pd.Series) -> bool:
    """Return whether the first values all end like the name of an image file."""
    known = column.dropna().head(INSPECTED_ROWS)
    if len(known) == 0 or not is_text(column):
        return False
    return all(isinstance(value, str) and Path(value).suffix.lower() in IMAGE_SUFFIXES for value in known)


def image_files(column: RawColumn, name: str, folder: Path) -> RawColumn:
    """Return a column of paths as files, relative to the folder of the table or to its folder `images`.

    Raises:
        JobError: a path is missing, lies outside of the folder, or names no file.

    """
    if not isinstance(column, pd.Series):
        return column
    root = folder.resolve()
    paths = []
    for number, value in enumerate(as_text(column), start=1):
        place = f"row {number}, column '{name}'"
        if value is None:
            raise JobError([Problem("dataset.source", f"{place}: there is no path")])
        path = folder / value
        try:
            inside = not Path(value).is_absolute() and path.resolve().is_relative_to(root)
            there = path.is_file()
            if not there and (folder / IMAGES / value).is_file():
                path, there = folder / IMAGES / value, True
        except (OSError, ValueError, RuntimeError):  # a name that is too long or has a NUL, or cyclic links
            inside, there = True, False
        if not inside:
            message = f"{place}: '{value}' is outside of '{folder}'; paths are relative to the table's folder"
            raise JobError([Problem("dataset.source", message)])
        if not there:
            raise JobError([Problem("dataset.source", f"{place}: no file '{path}'")])
        paths.append(path)
    return Files(tuple(paths), folder)


def _longest(records: Records, found: dict[str, Kind]) -> tuple[dict[str, Kind], list[str]]:
    """Keep the column with the longest texts."""
    lengths = {name: float(np.mean([len(text or "") for text in as_text(_head(records, name))])) for name in found}
    chosen = max(lengths, key=lambda name: lengths[name])
    cure = "name several in dataset.columns.features to keep them"
    notes = [f"column '{name}' is left out: '{chosen}' has longer texts; {cure}" for name in found if name != chosen]
    return {chosen: found[chosen]}, notes


def _question_and_context(records: Records, found: dict[str, Kind], named: bool) -> tuple[dict[str, Kind], list[str]]:
    """Keep the named columns, those of these names, or else the two with the longest texts, the longest one last.

    Raises:
        JobError: there are not two columns, or more are named.

    """
    names = list(SQUAD_COLUMNS[:2])
    if not named and set(names) <= found.keys():
        return {name: found[name] for name in names}, []
    if not named:
        lengths = {name: float(np.mean([len(text or "") for text in as_text(_head(records, name))])) for name in found}
        kept = sorted(found, key=lambda name: lengths[name])[-2:]
    else:
        kept = list(found)
    if len(kept) != 2 and len(records):
        message = f"takes two columns of texts, not {len(kept)}: name them, such as [question, context]"
        raise JobError([Problem("dataset.columns.features", f"a question with the text that answers it {message}")])
    cure = "name both in dataset.columns.features to choose others"
    notes = [
        f"column '{name}' is left out: '{kept[0]}' asks about '{kept[-1]}'; {cure}"
        for name in found
        if name not in kept
    ]
    return {name: found[name] for name in kept}, notes


def _richest(records: Records, found: dict[str, Kind]) -> tuple[dict[str, Kind], list[str]]:
    """Keep the column with the most different words: others hold tags or numbers."""

    def different(name: str) -> int:
        lists = read_lists(_head(records, name), str.split)
        return len({word for words in lists for word in words if not word.isdecimal()})

    chosen = max(found, key=different)
    cure = f"name it in dataset.columns.features to learn from it instead of '{chosen}'"
    notes = [f"column '{name}' is left out: it has fewer different words; {cure}" for name in found if name != chosen]
    return {chosen: found[chosen]}, notes


def _head(records: Records, name: str) -> pd.Series:
    column = records.columns[name]
    assert isinstance(column, pd.Series)
    return column.head(INSPECTED_ROWS)


def _reason_to_skip(column: pd.Series, name: str) -> str | None:
    known = column.dropna()
    if len(known) == 0:
        return "it is empty"
    is_number = inferred_type(column) == "number"
    if is_number and not pd.api.types.is_numeric_dtype(known):
        known = pd.Series(as_numbers(known)).dropna()
    distinct = 1 + int(known.min() != known.max()) if is_number else known.nunique()
    if distinct == 1 and len(known) == len(column):
        return "every row has the same value"
    if is_number:
        return _row_number(known, name)
    if inferred_type(column) == "time":
        return None
    if distinct > MAX_CATEGORIES or len(known) / distinct < MIN_REPEATS:
        return f"{distinct} different texts in {len(known)} rows; name it in dataset.columns.types to keep it"
    return None


def _row_number(known: pd.Series, name: str) -> str | None:
    """Return the reason to skip integers that number the rows, or are unique with a name such as `id`."""
    whole = pd.api.types.is_integer_dtype(known)
    if whole and len(known) > 2 and (known.diff().iloc[1:] == 1).all():
        return "it numbers the rows"
    if whole and known.is_unique and len(known) > 2 and _ID.search(name):
        return "it names the rows"
    return None
