"""Examines a dataset as a run would load it, for the report of `stoker data` and a proposed job."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from stoker.datasets.dialogues.messages import holds_messages
from stoker.datasets.fields.category import as_text
from stoker.datasets.fields.inference import (
    INSPECTED_ROWS,
    Roles,
    holds_image_paths,
    infer_roles,
    inferred_type,
    is_text,
)
from stoker.datasets.fields.lists import holds_lists, read_lists
from stoker.datasets.fields.number import as_numbers, number_notes
from stoker.datasets.inspection import column_problems
from stoker.datasets.layouts.dialogues import check_dialogues
from stoker.datasets.loading import documents, read_source, require_rows
from stoker.datasets.pictures.decoding import with_files
from stoker.datasets.pictures.masks import with_colours
from stoker.datasets.pictures.picture_kinds import augmentation_notes, completed_image
from stoker.datasets.pictures.survey import Survey, survey
from stoker.datasets.records import PARTS, Records
from stoker.datasets.report.label_leaks import label_leaks
from stoker.datasets.report.report import (
    ColumnReport,
    DataReport,
    class_warnings,
    column_reports,
    duplicate_count,
    leak_warnings,
    sample_hashes,
)
from stoker.datasets.split import choose_parts
from stoker.datasets.tokens.words import words_of
from stoker.datasets.values.boxes import holds_boxes
from stoker.datasets.values.labels import FEW_NUMBERS, Labels, label_notes, with_joined_spellings
from stoker.datasets.values.normality import labels_of
from stoker.errors import JobError
from stoker.job.builtin import BUILTIN
from stoker.job.dataset import Dataset
from stoker.job.formats import SQUAD_COLUMNS
from stoker.job.signature import ClassOutput, Signature
from stoker.job.task import TASKS, TaskName, TaskRow

ANSWERS = ("answer", "answers")
"""Common names of the column of answers, beside those of questions and their texts."""
LABELS = (
    "label",
    "target",
    "class",
    "y",
    "species",
    "category",
    "diagnosis",
    "sentiment",
    "stars",
    "rating",
    "survived",
    "outcome",
    "churn",
    "churned",
    "fraud",
    "default",
    "price",
    "tags",
    "ner_tags",
    "pos_tags",
    *ANSWERS,
)
"""Common names of the column to predict, the likeliest first."""
TASKS_OF_FORMATS: dict[str, TaskName] = {"parallel": "translation", "squad": "question-answering"}
"""The tasks that formats are made for."""
OWN_TEXT = ("continuation", "blanks", "replies")
"""Targets that are the text itself."""
WORDS = 3.0
"""Average number of words above which a column holds texts rather than categories."""


@dataclass(frozen=True)
class Examined:
    """A dataset, its task and the report."""

    dataset: Dataset
    task: TaskName
    report: DataReport
    records: Records
    roles: Roles
    side: int | None
    """Of the square that images of different sizes are resized to."""
    guessed: bool
    """Whether the label is a guess."""


def examine(dataset: Dataset, task: TaskName | None = None) -> Examined:
    """Read and examine a dataset.

    Args:
        dataset: a job's section; without a label, one is guessed.
        task: to examine it for; None guesses it.

    Raises:
        JobError: it cannot be read, or does not fit the task.

    """
    records, format_name = read_source(dataset)
    wrong = column_problems(dataset, list(records.columns), Path(dataset.source), needed=False)
    if records.is_table and (problems := list(wrong)):
        raise JobError(problems)
    require_rows(records, dataset)
    named = records.label or dataset.columns.label
    alone = not named and len(records.columns) == 1 and _has_texts(next(iter(records.columns.values())))
    talks = _has_dialogues(records)
    unlabelled = alone or talks or (task is not None and TASKS[task].target in OWN_TEXT)
    label = named or (_likely_label(records) if records.is_table and not unlabelled else "")
    records = replace(records, label=label)
    dataset = dataset.model_copy(update={"columns": dataset.columns.model_copy(update={"label": label or None})})
    likely: TaskName = "text-generation" if alone and not talks else likely_task(records, dataset.source)
    chosen = task or TASKS_OF_FORMATS.get(format_name or "") or likely
    row = TASKS[chosen]
    roles = infer_roles(records, dataset, row)
    if row.target == "continuation":
        records = documents(records, roles, dataset, format_name)
    check_dialogues(records, roles)
    odd = tuple(label_notes(records, roles.target, row.target))
    if dataset.columns.clean and row.target == "category":
        records = with_joined_spellings(records, roles.target)
    labels = labels_of(records, roles, row.target, dataset)
    parts = choose_parts(records, dataset, labels)
    records = with_colours(records, roles, dataset, row)
    hashes = sample_hashes(records, roles)
    counts = {part: labels.counts(parts == part) for part in PARTS if (parts == part).any()}
    numbers = (name for name, kind in roles.inputs.items() if kind == "number")
    notes = (note for name in numbers for note in number_notes(name, records.columns[name]))
    looked = survey(with_files(records, roles, row, dataset), roles, dataset, row)
    leaks = label_leaks(records, roles, row.target, parts) if records.is_table else ()
    warnings = (
        *roles.notes,
        *notes,
        *odd,
        *looked.notes,
        *_augmentation(looked, labels, row),
        *leak_warnings(hashes, parts, records),
        *leaks,
        *class_warnings(counts),
    )
    duplicates = duplicate_count(hashes)
    report = DataReport(len(records), tuple(column_reports(records)), counts, duplicates, warnings, records.dialect)
    side = looked.dataset.image.size[0] if looked.dataset.image.size and not dataset.image.size else None
    return Examined(dataset, chosen, report, records, roles, side, guessed=not named and bool(label))


def _augmentation(looked: Survey, labels: Labels, row: TaskRow) -> Iterator[str]:
    """Yield a note on the random changes that a run would choose, if labels have classes."""
    if looked.shape and labels.classes:
        signature = Signature({"image": looked.shape}, ClassOutput(labels.classes))
        image = looked.dataset.image
        yield from augmentation_notes(image, completed_image(image, signature, row), signature)


def describe(dataset: Dataset) -> tuple[tuple[ColumnReport, ...], int]:
    """Return reports on the columns and the number of samples, also of data that fits no task."""
    records, _ = read_source(dataset)
    return tuple(column_reports(records)), len(records)


def likely_task(records: Records, source: str) -> TaskName:
    """Return the most likely task of records."""
    if source in BUILTIN:
        first: TaskName = next(name for name in TASKS if name in BUILTIN[source].tasks)
        return first
    if _has_dialogues(records):
        return "instruction-tuning"
    if any(isinstance(column, pd.Series) and holds_boxes(column) for column in records.columns.values()):
        return "object-detection"
    if "mask" in records.columns:
        return "segmentation"
    if any(not isinstance(column, pd.Series) for column in records.columns.values()):
        return "image-classification" if records.label in records.columns else "image-generation"
    if set(SQUAD_COLUMNS[:2]) <= records.columns.keys() and records.label in ANSWERS:
        return "question-answering"
    label = records.columns.get(records.label)
    if isinstance(label, pd.Series) and _tags_words(records, label):
        return "token-classification"
    if isinstance(label, pd.Series) and _is_value(label):
        return "tabular-regression"
    others = [column for name, column in records.columns.items() if name != records.label]
    if len(others) == 1 and isinstance(others[0], pd.Series) and holds_image_paths(others[0]):
        return "image-captioning" if _has_texts(label) else "image-classification"
    texts = [name for name, column in records.columns.items() if name != records.label and _has_texts(column)]
    more = [name for name in records.columns if name not in (*texts, records.label)]
    return "text-classification" if texts and not more else "tabular-classification"


def _has_dialogues(records: Records) -> bool:
    return any(isinstance(column, pd.Series) and holds_messages(column) for column in records.columns.values())


def _likely_label(records: Records) -> str:
    """Return a column with a likely name, else the last one without missing values; answers may be missing."""
    frame = records.frame
    if set(SQUAD_COLUMNS[:2]) <= records.columns.keys() and (answers := [n for n in ANSWERS if n in frame.columns]):
        return answers[0]
    whole = [str(name) for name in frame.columns if not frame[name].isna().any()] or list(records.columns)
    names = {name.lower(): name for name in whole}
    return next((names[likely] for likely in LABELS if likely in names), whole[-1])


def _tags_words(records: Records, label: pd.Series) -> bool:
    """Return whether the label has lists as long as those of another column."""
    if not holds_lists(label, INSPECTED_ROWS):
        return False
    tags = [len(each) for each in read_lists(label.head(INSPECTED_ROWS), str.split)]
    others = [column for name, column in records.columns.items() if name != records.label]
    return max(tags) > 1 and any(
        isinstance(column, pd.Series)
        and holds_lists(column, INSPECTED_ROWS)
        and tags == [len(each) for each in read_lists(column.head(INSPECTED_ROWS), str.split)]
        for column in others
    )


def _is_value(column: pd.Series) -> bool:
    if inferred_type(column) != "number":
        return False
    known = pd.Series(as_numbers(column)).dropna()
    return known.nunique() > FEW_NUMBERS or not bool((known % 1 == 0).all())


def _has_texts(column: object) -> bool:
    if not isinstance(column, pd.Series) or not is_text(column):
        return False
    some = as_text(column.dropna().head(1000))
    return len(some) > 0 and float(np.mean([len(words_of(text)) for text in some])) >= WORDS


def proposed_job(examined: Examined, source: str, file: str) -> str:
    """Return a commented job for a dataset, as YAML that validates and trains unchanged.

    Args:
        examined: the dataset.
        source: as the user names it.
        file: that will hold the job.

    Raises:
        JobError: the dataset does not fit its task.

    """
    row, report = TASKS[examined.task], examined.report
    columns = ", ".join(f"{each.name} ({each.kind})" for each in report.columns[:8])
    more = ", ..." if len(report.columns) > 8 else ""
    lines = [
        f"# {report.samples:,} samples: {columns}{more}",
        f"# Run: stoker submit {file}",
        *(f"# Note: {warning}" for warning in report.warnings[:5]),
        f"task: {examined.task}  # {row.summary}",
        "dataset:",
        f"  source: {_quoted(source)}",
    ]
    if examined.dataset.format:
        lines.append(f"  format: {examined.dataset.format}")
    if examined.roles.target and examined.records.is_table and source not in BUILTIN:
        lines.append(f"  columns: {{label: {_quoted(examined.roles.target)}}}  # all others are learnt from")
    if examined.side:
        lines.append(f"  image: {{size: {examined.side}}}  # the images differ in size; or [height, width]")
    if examined.records.parts is None:
        lines.append("  # split: {train: 0.8, val: 0.1, test: 0.1}")
    others = f"; also {', '.join(row.families[1:])}" if row.families[1:] else ""
    lines += [
        f"architecture: {row.families[0]}  # the default{others}",
        "# training: {epochs: 30, batch_size: 64, optimizer: {type: adamw, lr: 1e-3}}  # default: from the data",
        "# resources: {workers: 2}  # the result does not depend on their number",
    ]
    return "\n".join(lines) + "\n"


def _quoted(text: str) -> str:
    """Quote text that YAML might not read as text."""
    plain = re.sub(r"[-_/.]", "a", text)
    if plain.isalnum() and not text[0].isdigit():
        return text
    return json.dumps(text)
