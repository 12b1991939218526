"""Predictions for any `dataset.source` without labels."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from glob import glob, has_magic
from pathlib import Path

import numpy as np
import pandas as pd

from stoker.datasets.cache import local_path
from stoker.datasets.fields.category import CategoryField
from stoker.datasets.fields.image import ImageField
from stoker.datasets.fields.inference import image_files
from stoker.datasets.fields.mask import MaskField
from stoker.datasets.fields.number import NumberField
from stoker.datasets.fields.texts.word_pieces import WordPiecesField
from stoker.datasets.fields.texts.words import WordsField
from stoker.datasets.folders import image_paths
from stoker.datasets.formats.format_inference import infer_format
from stoker.datasets.loading import read_source
from stoker.datasets.members import Location
from stoker.datasets.pictures.headers import read_headers
from stoker.datasets.pictures.images import decode_images
from stoker.datasets.pictures.masks import nearest
from stoker.datasets.records import Files, Records, in_memory, pick
from stoker.datasets.sources.schemes import is_remote
from stoker.errors import JobError, NotFound, Problem
from stoker.inference.model import Model, OutputKind
from stoker.inference.pictures import frames
from stoker.job.builtin import BUILTIN
from stoker.job.dataset import Columns
from stoker.job.formats import IMAGE_SUFFIXES, Format
from stoker.tasks.task import Answers

SHOWN = 3
WHY_UNREAD = {
    NumberField: ("is no number", "are no numbers"),
    CategoryField: ("is not known from training", "are not known from training"),
}


def predict(
    model: Model,
    source: str,
    format_name: Format | None = None,
    kind: OutputKind = "prediction",
    tell: Callable[[str], None] = lambda _: None,
    draw: bool = False,
) -> Iterator[Answers]:
    """Predict a file, a folder or glob of images, or a built-in dataset, some samples at a time.

    Args:
        model: of a run.
        source: of the samples.
        format_name: of the source; default: by its name.
        kind: of the answers.
        tell: called with notes about values that count as missing.
        draw: whether pictures are drawn with what is said to them.

    Returns:
        The task's answers, or the network's codes; before them a column `input` that names the image, or behind them
        all columns of the table.

    Raises:
        NotFound: the source does not exist.
        JobError: it does not fit the model.

    """
    check_source_exists(source)
    records = read_unlabelled(model, source, format_name)
    for note in unread_notes(model, records):
        tell(note)
    frame = None if records.names else records.frame
    begin = 0
    for answers in model.answers(records, kind):
        count = len(answers.table)
        few = records.rows(np.arange(begin, begin + count))
        drawn = tuple(_annotated(model, answers, few)) if draw and kind == "prediction" else ()
        images = _in_own_size(model, answers.images, few) if answers.images is not None else None
        yield Answers(_named(answers.table, records, frame, begin), images, answers.palette, drawn)
        begin += count


def _in_own_size(
    model: Model, images: np.ndarray | Sequence[np.ndarray], records: Records
) -> np.ndarray | Sequence[np.ndarray]:
    """Return predicted masks in the size of their pictures; other images as they are."""
    files = records.columns.get(model.fields.columns[0])
    if not isinstance(model.fields.target, MaskField) or not isinstance(files, Files):
        return images
    sizes = {header.file: header.size for header in read_headers(files)}
    return [
        nearest(mask, sizes[file]) if file in sizes else mask for mask, file in zip(images, files.paths, strict=True)
    ]


def _annotated(model: Model, answers: Answers, records: Records) -> Iterator[np.ndarray]:
    """Draw the answers into the pictures of records, each in its own size; nothing where a sample is no picture."""
    inputs = model.fields.inputs
    if len(inputs) != 1 or not isinstance(inputs[0], ImageField):
        return
    column = records.columns[inputs[0].name]
    rows = answers.table.to_dict("records")
    for number, row in enumerate({str(name): value for name, value in each.items()} for each in rows):
        one = pick(column, np.arange(number, number + 1))
        pixels = in_memory(one)
        if pixels is None:
            assert isinstance(one, Files)
            pixels = decode_images(one, None)
        picture = pixels[0] if pixels.ndim == 4 else pixels[0][..., None]
        yield model.task.annotated(picture, row, None if answers.images is None else answers.images[number])


def _named(predictions: pd.DataFrame, records: Records, frame: pd.DataFrame | None, begin: int) -> pd.DataFrame:
    if frame is None:
        predictions.insert(0, "input", list(records.names[begin : begin + len(predictions)]))
        return predictions
    rows = frame.iloc[begin : begin + len(predictions)].reset_index(drop=True)
    clashing = {name: f"input/{name}" for name in rows.columns if name in predictions.columns}
    return pd.concat([predictions, rows.rename(columns=clashing)], axis=1)


def read_unlabelled(model: Model, source: str, format_name: Format | None) -> Records:
    """Read the columns that a model needs.

    Raises:
        JobError: the source cannot be read.

    """
    inputs = model.fields.inputs
    path = local_path(source) if is_remote(source) else Path(source).expanduser()
    found = format_name or (infer_format(path) if path.exists() else None)
    only_image = len(inputs) == 1 and isinstance(inputs[0], ImageField)
    if only_image and source not in BUILTIN and found in (None, "image-folder"):
        files = Files(
            tuple(_images(source, path)), (path if path.is_dir() else path.parent) if is_remote(source) else None
        )
        return Records({inputs[0].name: files}, names=files.names())
    columns = Columns(names=model.job.dataset.columns.names) if found in ("csv", "conll") else Columns()
    dataset = model.job.dataset.model_copy(update={"source": source, "format": found, "columns": columns})
    records, _ = read_source(dataset)
    return aligned(records, model, path)


def aligned(records: Records, model: Model, path: Path) -> Records:
    """Rename the label, or an only other column, to the model's names, and turn image paths into files."""
    fields = model.fields
    columns = dict(records.columns)
    label = records.label
    if fields.target and label in columns and fields.target.name not in columns:
        columns[fields.target.name] = columns.pop(label)
    others = [name for name in columns if not fields.target or name != fields.target.name]
    if len(fields.columns) == 1 and len(others) == 1 and fields.columns[0] not in columns:
        columns[fields.columns[0]] = columns.pop(others[0])
    folder = path if path.is_dir() else path.parent
    for each in (*fields.inputs, fields.target):
        if isinstance(each, ImageField | MaskField) and each.name in columns:
            columns[each.name] = image_files(columns[each.name], each.name, folder)
    return replace(records, columns=columns)


def unread_notes(model: Model, records: Records) -> Iterator[str]:
    """Yield which values count as missing although there is something in their cells, and which are cut off."""
    for field in model.fields.inputs:
        if field.name not in records.columns:
            continue
        if isinstance(field, WordsField | WordPiecesField):
            yield from field.cut_notes(records.columns[field.name])
        if not isinstance(field, NumberField | CategoryField):
            continue
        cells = field.unread(records.columns[field.name])
        rows = [row for row, cell in enumerate(cells) if cell is not None]
        if not rows:
            continue
        names = list(dict.fromkeys(f"'{cells[row]}'" for row in rows))
        shown = ", ".join(names[:SHOWN]) + (", ..." if len(names) > SHOWN else "")
        why = WHY_UNREAD[type(field)][len(names) > 1]
        count = "1 cell" if len(rows) == 1 else f"{len(rows):,} cells"
        yield f"column '{field.name}': {count} from row {rows[0] + 1} on count as missing, since {shown} {why}"


def check_source_exists(source: str) -> None:
    """Check that a source exists.

    Raises:
        NotFound: it does not.

    """
    if source in BUILTIN or is_remote(source) or Path(source).expanduser().exists():
        return
    if not has_magic(source):
        raise NotFound(f"no file or folder '{source}'")
    if not glob(source, recursive=True):  # noqa: PTH207  # Path.glob rejects absolute patterns
        raise NotFound(f"no file matches '{source}'")


def _images(source: str, path: Path) -> list[Location]:
    """List the images of a path or glob; each frame of an animation is one."""
    if path.is_dir():
        files = image_paths(path)
    else:
        found = [path] if path.exists() else sorted(map(Path, glob(source, recursive=True)))  # noqa: PTH207  # as above
        files = [file for file in found if file.suffix.lower() in IMAGE_SUFFIXES]
    if not files:
        raise JobError([Problem("", f"no images in '{source}'")])
    return [frame for file in files for frame in frames(file)]
