"""The format of a file or folder, by its name, its suffix or its first bytes."""

import gzip
import itertools
import re
import zlib
from pathlib import Path
from typing import TextIO, cast

from stoker.datasets.folders import (
    archive_paths,
    image_paths,
    label_folders,
    language_files,
    part_folders,
    visible_folders,
)
from stoker.datasets.formats.coco_files import annotation_files, is_coco
from stoker.datasets.formats.csv_dialect import is_table
from stoker.errors import Problem
from stoker.job.formats import (
    CONTENT_SUFFIXES,
    FORMATS,
    IMAGE_SUFFIXES,
    TABLE_SUFFIXES,
    VOC_ANNOTATIONS,
    VOC_IMAGES,
    Format,
)

HEADER_BYTES = 1 << 20
"""A longer first line is no header."""
_SQUAD = re.compile(r'\s*\{\s*("version"\s*:\s*"[^"]*"\s*,\s*)?"data"\s*:\s*\[')
_CAPTIONS = re.compile(r"captions.*\.json")
INSPECTED_IMAGES = 20
IDX_NAME = re.compile(r".*idx[1-4]-ubyte(\.gz)?\Z")
_SUFFIXES: dict[str, Format] = {
    **TABLE_SUFFIXES,
    ".txt": "text",
    ".txt.gz": "text",
    ".npz": "npz",
    ".tar": "webdataset",
}
IMAGES, MASKS = "images", "masks"
_SPREADSHEET, _PANDAS = "save the sheet as csv", "save it as parquet, such as by DataFrame.to_parquet of pandas"
CURES = {
    **dict.fromkeys((".xlsx", ".xls", ".ods", ".numbers"), _SPREADSHEET),
    **dict.fromkeys((".feather", ".arrow", ".pkl", ".pickle", ".h5", ".hdf5", ".sav", ".dta"), _PANDAS),
    **dict.fromkeys((".zip", ".7z", ".rar", ".tgz"), "unpack it, and name the folder"),
    **dict.fromkeys((".yaml", ".yml"), "it is no data; of a job, name what its dataset.source says"),
    ".mat": "save its arrays as npz, by numpy.savez",
}
"""What to do about files that are not read, by their suffix."""


def infer_format(path: str | Path) -> Format | None:
    """Infer the format from the name of a file or the content of a folder; None if it is ambiguous."""
    path = Path(path)
    if path.is_dir():
        return _folder_format(path)
    if IDX_NAME.match(path.name):
        return "idx"
    if path.suffix.lower() == ".txt" and path.is_file() and is_table(path):
        return "csv"
    if _CAPTIONS.fullmatch(path.name):
        return "coco-captions"
    if _is_squad(path):
        return "squad"
    if path.suffix.lower() == ".json" and path.is_file() and is_coco(path):
        return "coco"
    return next((found for suffix, found in _SUFFIXES.items() if path.name.lower().endswith(suffix)), None)


def _folder_format(path: Path) -> Format | None:
    names = [entry.name for entry in itertools.islice(path.iterdir(), 1000)]
    if any(IDX_NAME.match(name) for name in names):
        return "idx"
    if (path / VOC_IMAGES).is_dir() and (path / VOC_ANNOTATIONS).is_dir():
        return "voc"
    if any(next(labels.rglob("*.txt"), None) for _, _, labels in label_folders(path)):
        return "yolo"
    if annotation_files(path):
        return "coco"
    if pair_folders(path):
        return "image-mask"
    if archive_paths(path):
        return "webdataset"
    if caption_files(path):
        return "coco-captions"
    if _has_texts_beside(path):
        return "image-text"
    if _has_images_beside(path) and len(tables := _tables(path)) == 1:
        return tables[0]
    if any(image_paths(folder) for _, root in part_folders(path) for folder in visible_folders(root)):
        return "image-folder"
    if _is_parallel(path):
        return "parallel"
    if names and all(Path(name).suffix.lower() in IMAGE_SUFFIXES for name in names if not name.startswith(".")):
        return "image-folder"
    if [part for part, root in part_folders(path) if part and image_paths(root)]:
        return "image-folder"
    if names and all(name.lower().endswith(".txt") for name in names if not name.startswith(".")):
        return "text"
    tables = _tables(path)
    if tables == ["jsonl"] and all(map(_is_squad, table_files(path, "jsonl"))):
        return "squad"
    return tables[0] if len(tables) == 1 else None


def _tables(path: Path) -> list[Format]:
    """Return the formats of the tables in a folder and below it."""
    return [name for name in dict.fromkeys(TABLE_SUFFIXES.values()) if table_files(path, name)]


def caption_files(path: Path) -> list[Path]:
    """Return a file of captions itself, or those of a folder."""
    if not path.is_dir():
        return [path]
    return sorted(file for file in path.iterdir() if _CAPTIONS.fullmatch(file.name))


def _has_texts_beside(path: Path) -> bool:
    """Return whether the first images of a folder have files of texts beside them."""
    few = [file for _, root in part_folders(path) for file in image_paths(root)[:INSPECTED_IMAGES]]
    return bool(few) and all(file.with_suffix(".txt").is_file() for file in few)


def _has_images_beside(path: Path) -> bool:
    """Return whether all images of a folder with tables are in one folder beside these: no folder for each class."""
    folders = visible_folders(path)
    return len(folders) == 1 and bool(image_paths(folders[0])) and not visible_folders(folders[0])


def _is_squad(path: Path) -> bool:
    """Return whether a JSON file begins like those of SQuAD."""
    if not path.name.lower().endswith(CONTENT_SUFFIXES["squad"]) or not path.is_file():
        return False
    try:
        with text_of(path) as file:
            return _SQUAD.match(file.read(HEADER_BYTES)) is not None
    except (OSError, EOFError, zlib.error, UnicodeError):
        return False  # the checks of its content report it


def _is_parallel(path: Path) -> bool:
    """Return whether each text of a folder is there in the same two or more languages."""
    languages = {frozenset(found) for found in language_files(path).values()}
    return len(languages) == 1 and len(next(iter(languages))) > 1


def pair_folders(path: Path) -> list[Path]:
    """List the folders with both images/ and masks/: the folder itself, or those of its parts."""
    roots = [path, *(root for _, root in part_folders(path))]
    return [root for root in dict.fromkeys(roots) if (root / IMAGES).is_dir() and (root / MASKS).is_dir()]


def table_files(folder: Path, format_name: str) -> list[Path]:
    """Return the files of a table in a folder, sorted and without hidden ones."""
    suffixes = CONTENT_SUFFIXES.get(format_name) or tuple(
        suffix for suffix, found in TABLE_SUFFIXES.items() if found == format_name
    )
    return sorted(
        file
        for file in folder.rglob("*")
        if file.name.lower().endswith(suffixes) and not file.name.startswith((".", "_")) and file.is_file()
    )


def unknown_format(path: Path) -> Problem:
    """Return the problem of a file or folder whose format cannot be inferred."""
    if path.is_dir():
        if not any(path.iterdir()):
            return Problem("dataset.source", f"the folder '{path}' is empty")
        message = f"'{path}' holds neither idx files, nor a folder of images for each class, nor images/ and masks/"
        message += ", nor boxes as VOC, COCO or YOLO have them"
        return Problem("dataset.source", message)
    if cure := CURES.get(path.suffix.lower()):
        return Problem("dataset.source", f"'{path.name}' cannot be read: {cure}")
    known = ", ".join(FORMATS)
    return Problem(
        "dataset.source", f"the name '{path.name}' does not identify the format; set dataset.format to one of {known}"
    )


def text_of(path: Path, codec: str = "utf-8-sig") -> TextIO:
    """Open a text file, plain or gzip."""
    if path.name.lower().endswith(".gz"):
        return cast("TextIO", gzip.open(path, "rt", encoding=codec, newline=""))
    return path.open(encoding=codec, newline="")


def starts_list(file: TextIO) -> bool:
    """Return whether a file is one list of JSON, not an object a line; the file is at its beginning afterwards."""
    begins = file.read(HEADER_BYTES).lstrip().startswith("[")
    file.seek(0)
    return begins
