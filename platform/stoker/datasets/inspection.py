"""Checks of `validate` on the data without reading all of it: names, headers and first bytes."""

import csv
import gzip
import json
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

from stoker.datasets.folders import archive_paths, image_paths, language_files, part_folders, visible_folders
from stoker.datasets.formats.csv_dialect import codec_of, csv_dialect
from stoker.datasets.formats.encodings import not_json, undecodable
from stoker.datasets.formats.format_inference import (
    HEADER_BYTES,
    IDX_NAME,
    IMAGES,
    MASKS,
    infer_format,
    pair_folders,
    starts_list,
    table_files,
    text_of,
    unknown_format,
)
from stoker.datasets.sources.path import PathSource, is_pattern
from stoker.datasets.sources.schemes import is_remote, remote_problem
from stoker.errors import Problem
from stoker.job.builtin import BUILTIN
from stoker.job.dataset import Dataset
from stoker.job.formats import (
    CONLL_COLUMNS,
    FORMATS,
    SQUAD_COLUMNS,
    TABLE_SUFFIXES,
    VOC_ANNOTATIONS,
    VOC_IMAGES,
    YOLO_IMAGES,
    YOLO_LABELS,
    fits,
)
from stoker.job.job import Job
from stoker.job.task import TASKS, TaskName
from stoker.jobfile.suggestion import did_you_mean

Check = Callable[[Dataset, Path, bool], Iterator[Problem]]
SHOWN_COLUMNS = 20


def inspect(job: Job | None, dataset: Dataset | None, task: TaskName | None) -> list[Problem]:
    """Return the problems of a job's data, or of the sections that could be read."""
    dataset = job.dataset if job else dataset
    task = job.task if job else task
    if dataset is None or dataset.source in BUILTIN:
        return []
    try:
        return list(_path_problems(dataset, task))
    except PermissionError:
        return [Problem("dataset.source", f"no permission to read '{dataset.source}'")]
    except (gzip.BadGzipFile, EOFError, zlib.error):
        return [Problem("dataset.source", f"'{dataset.source}' holds a broken gzip file; pack it again")]
    except OSError as error:
        return [Problem("dataset.source", f"'{dataset.source}' cannot be read: {error.strerror}")]
    except UnicodeError:
        message = f"'{dataset.source}' is not {dataset.encoding or 'UTF-8'} text"
        return [Problem("dataset.source", f"{message}; name its encoding in dataset.encoding, such as latin-1")]


def inspect_elsewhere(job: Job | None, dataset: Dataset | None, task: TaskName | None) -> list[Problem]:
    """Return the problems of the data of a job on a cluster, whose files this machine may lack."""
    found = job.dataset if job else dataset
    if found is not None and is_remote(found.source):
        return inspect(job, dataset, task)  # only its address: the cluster reads it with its own credentials
    if found is not None and found.source.startswith("/") and not Path(found.source).exists():
        return []
    return inspect(job, dataset, task)


def _path_problems(dataset: Dataset, task: TaskName | None) -> Iterator[Problem]:
    source = dataset.source
    path = Path(source).expanduser()
    if "\0" in source:
        yield Problem("dataset.source", "a path cannot hold a NUL character")
    elif is_remote(source):
        if problem := remote_problem(source):
            yield Problem("dataset.source", problem)
    elif is_pattern(source):
        matches = PathSource(source).matches()
        if len(matches) == 1 or (matches and infer_format(matches[0]) in TABLE_SUFFIXES.values()):
            yield from _content_problems(dataset, matches[0], task)
        elif not matches:
            yield Problem("dataset.source", f"no file matches '{source}' (looked in {_searched_folder(source)})")
    elif not path.exists():
        yield Problem("dataset.source", _missing(source))
    else:
        yield from _content_problems(dataset, path, task)


def _missing(source: str) -> str:
    if "/" in source or "." in source or "\\" in source:
        return f"'{source}' does not exist (looked in {_searched_folder(source)})"
    guess = did_you_mean(source, BUILTIN) or f"; built in are {', '.join(BUILTIN)}"
    return f"'{source}' is neither a built-in dataset nor a path{guess}"


def _searched_folder(source: str) -> str:
    return "/" if source.startswith("/") else "the current folder"


def _content_problems(dataset: Dataset, path: Path, task: TaskName | None) -> Iterator[Problem]:
    found = dataset.format or infer_format(path)
    if found is None:
        yield unknown_format(path)
        return
    if task and not fits(found, TASKS[task]):
        if dataset.format:
            return  # the checks without data report it
        fitting = " or ".join(name for name in FORMATS if fits(name, TASKS[task]))
        yield Problem("dataset.source", f"'{path}' is {found}, which does not fit {task}; use {fitting}")
        return
    if found in FOLDERS and not path.is_dir():
        yield Problem("dataset.source", f"'{path}' is a file; {found} is {FOLDERS[found]}")
    elif found == "npz" and path.is_dir():
        yield Problem("dataset.source", f"'{path}' is a folder; npz is one file")
    else:
        yield from CHECKS[found](dataset, path, not (task and TASKS[task].target_optional))


def _first_line(path: Path, codec: str = "utf-8-sig") -> str:
    with text_of(path, codec) as file:
        return file.readline(HEADER_BYTES)


def _table_problems(format_name: str, check: Check) -> Check:
    """Return a check of a table's only or first file; the others are checked when they are read."""

    def check_first(dataset: Dataset, path: Path, needed: bool) -> Iterator[Problem]:
        files = table_files(path, format_name) if path.is_dir() else [path]
        if not files:
            yield Problem("dataset.source", f"there are no {format_name} files in the folder '{path}'")
        for file in files[:1]:
            try:
                yield from check(dataset, file, needed)
            except UnicodeError:
                yield Problem("dataset.source", f"cannot read '{file}': {undecodable(file, dataset.encoding)}")

    return check_first


def _csv_problems(dataset: Dataset, path: Path, needed: bool) -> Iterator[Problem]:
    dialect = csv_dialect(path, dataset.encoding)
    if path.stat().st_size == 0 or not _first_line(path, dialect.codec).strip():
        yield _empty(path)
        return
    with text_of(path, dialect.codec) as file:
        rows = csv.reader(file, delimiter=dialect.delimiter, quotechar=dialect.quote)
        try:
            header = list(dataset.columns.names) or [name.strip() for name in next(rows)]
            first = next((row for row in rows if row), None)
        except csv.Error:  # a long text, or a quote that is never closed: reading all of it tells
            return
    repeated = sorted({name for name in header if header.count(name) > 1})
    if repeated:
        yield Problem("dataset.source", f"'{path}' has more than one column '{repeated[0]}'")
    if first is None:
        yield Problem("dataset.source", f"'{path}' has a header but no rows")
    elif len(first) != len(header):
        counts = f"the first row of '{path}' has {len(first)} values, its header {len(header)}"
        cure = "write a value for each column, and quotes around one that holds a line break"
        yield Problem("dataset.source", f"{counts}; {cure}")
    yield from column_problems(dataset, header, path, needed)


def _jsonl_problems(dataset: Dataset, path: Path, needed: bool) -> Iterator[Problem]:
    with text_of(path, codec_of(dataset.encoding)) as file:
        if starts_list(file):
            return  # a list, of which the first object cannot be read alone
        number, line = next(((n, line) for n, line in enumerate(file, start=1) if line.strip()), (1, ""))
    if not line:
        yield _empty(path)
        return
    try:
        first = json.loads(line)
    except json.JSONDecodeError as error:
        yield Problem("dataset.source", f"line {number} of '{path}' {not_json(error)}")
        return
    if not isinstance(first, dict) or not first:
        form = 'such as {"text": "...", "label": 1}'
        yield Problem("dataset.source", f"line {number} of '{path}' is not an object with keys, {form}")
        return
    yield from column_problems(dataset, list(first), path, needed)


def _empty(path: Path) -> Problem:
    return Problem("dataset.source", f"'{path}' is empty")


def _conll_problems(dataset: Dataset, path: Path, needed: bool) -> Iterator[Problem]:
    yield from column_problems(dataset, list(dataset.columns.names or CONLL_COLUMNS), path, needed=False)


def _squad_problems(dataset: Dataset, path: Path, needed: bool) -> Iterator[Problem]:
    yield from column_problems(dataset, ["id", *SQUAD_COLUMNS], path, needed=False)


def _no_problems(dataset: Dataset, path: Path, needed: bool) -> Iterator[Problem]:
    yield from ()


def _parquet_problems(dataset: Dataset, path: Path, needed: bool) -> Iterator[Problem]:
    import pyarrow  # here, since jobs without parquet should not pay for the import
    from pyarrow import parquet

    try:
        with parquet.ParquetFile(path) as file:
            rows, names = file.metadata.num_rows, list(file.schema_arrow.names)
    except pyarrow.ArrowException:
        yield Problem("dataset.source", f"'{path}' is not a parquet file")
        return
    if rows == 0:
        yield Problem("dataset.source", f"'{path}' has columns but no rows")
    yield from column_problems(dataset, names, path, needed)


def column_problems(dataset: Dataset, header: list[str], path: Path, needed: bool = True) -> Iterator[Problem]:
    """Check that a table has the named columns, and a label if one is needed."""
    columns, split = dataset.columns, dataset.split
    shown = ", ".join(header[:SHOWN_COLUMNS]) + (", ..." if len(header) > SHOWN_COLUMNS else "")
    if columns.label is None and needed:
        yield Problem("dataset.columns.label", f"required: the column of {path.name} to predict (columns: {shown})")
    named: list[tuple[str, str]] = [
        (f"columns.{key}", value) for key in ("label", "weight", "group") if (value := getattr(columns, key))
    ]
    named += [(f"columns.features.{index}", name) for index, name in enumerate(columns.features or ())]
    named += [(f"columns.drop.{index}", name) for index, name in enumerate(columns.drop)]
    named += [(f"columns.types.{name}", name) for name in columns.types]
    if split != "none":
        named += [(f"split.{key}", value) for key in ("column", "time") if (value := getattr(split, key))]
    for key, name in named:
        if name not in header:
            guess = did_you_mean(name, header)
            yield Problem(f"dataset.{key}", f"no column '{name}' in {path.name} (columns: {shown}){guess}")


def _idx_problems(dataset: Dataset, path: Path, needed: bool) -> Iterator[Problem]:
    files = sorted(entry for entry in path.iterdir() if IDX_NAME.match(entry.name)) if path.is_dir() else [path]
    if not files:
        yield Problem("dataset.source", f"no idx files in '{path}' (names such as train-images-idx3-ubyte)")
    for file in files:
        with gzip.open(file) if file.name.endswith(".gz") else file.open("rb") as opened:
            magic = opened.read(4)
        if len(magic) < 4 or magic[:2] != b"\0\0" or magic[2] != 8 or magic[3] not in (1, 3):
            yield Problem(
                "dataset.source", f"'{file}' is not an idx file of bytes: it begins with {magic.hex() or 'nothing'}"
            )


def _folder_problems(dataset: Dataset, path: Path, needed: bool) -> Iterator[Problem]:
    for part, root in part_folders(path):
        classes = [folder.name for folder in visible_folders(root) if image_paths(folder)]
        if not classes and (needed or not image_paths(root)):
            yield Problem("dataset.source", f"no folder of images in '{root}'; each class has its own folder")
        elif needed and len(classes) == 1 and part in ("", "train"):
            yield Problem("dataset.source", f"only one class, '{classes[0]}', in '{root}'; a classification needs two")


def _pair_problems(dataset: Dataset, path: Path, needed: bool) -> Iterator[Problem]:
    if not pair_folders(path):
        yield Problem("dataset.source", f"'{path}' has no folders {IMAGES}/ and {MASKS}/, nor have its parts")


def _parallel_problems(dataset: Dataset, path: Path, needed: bool) -> Iterator[Problem]:
    languages = {language: None for found in language_files(path).values() for language in found}
    if len(languages) < 2:
        message = f"'{path}' has no texts in two languages; name their files such as train.en and train.de"
        yield Problem("dataset.source", message)
    else:
        yield from column_problems(dataset, sorted(languages), path, needed)


def _archive_problems(dataset: Dataset, path: Path, needed: bool) -> Iterator[Problem]:
    files = archive_paths(path) if path.is_dir() else [path]
    if not files:
        yield Problem("dataset.source", f"there are no tar archives in the folder '{path}'")
    for file in files:
        if file.stat().st_size == 0:
            yield Problem("dataset.source", f"'{file}' is empty")


FOLDERS: dict[str, str] = {
    "parallel": "a folder with files such as train.en and train.de",
    "image-folder": "a folder with a folder for each class",
    "image-text": "a folder of images with text files beside them",
    "yolo": f"a folder with folders {YOLO_IMAGES}/ and {YOLO_LABELS}/",
    "voc": f"a folder with folders {VOC_IMAGES}/ and {VOC_ANNOTATIONS}/",
    "image-mask": f"a folder with folders {IMAGES}/ and {MASKS}/",
}
CHECKS: dict[str, Check] = {
    "csv": _table_problems("csv", _csv_problems),
    "jsonl": _table_problems("jsonl", _jsonl_problems),
    "parquet": _table_problems("parquet", _parquet_problems),
    "conll": _table_problems("conll", _conll_problems),
    "squad": _table_problems("squad", _squad_problems),
    "text": _no_problems,
    "parallel": _parallel_problems,
    "npz": _no_problems,
    "idx": _idx_problems,
    "image-folder": _folder_problems,
    "image-mask": _pair_problems,
    "image-text": _no_problems,
    "coco-captions": _no_problems,
    "voc": _no_problems,
    "coco": _no_problems,
    "coco-masks": _no_problems,
    "yolo": _no_problems,
    "webdataset": _archive_problems,
}
