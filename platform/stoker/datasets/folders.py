"""Conventions of file and folder names: parts, classes, images and archives."""

import re
from pathlib import Path

from stoker.job.formats import IMAGE_SUFFIXES, TABLE_SUFFIXES, YOLO_IMAGES, YOLO_LABELS

PART_NAMES = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "dev": "val",
    "test": "test",
}
_LANGUAGE = re.compile(r"[a-z]{2,3}([-_][A-Za-z]{2,4})?")
_NO_LANGUAGES = frozenset(
    {suffix[1:] for suffix in (*IMAGE_SUFFIXES, *TABLE_SUFFIXES)}
    | {"md", "rst", "txt", "py", "sh", "npz", "npy", "tar", "zip", "gz", "bz", "xz", "tgz", "pdf", "log", "xml", "yml"}
)
"""Ends of names that are no languages, as far as they are as short."""


def part_folders(path: Path) -> list[tuple[str, Path]]:
    """Return the folders train, val and test with their parts, or else the whole folder with an empty part."""
    children = visible_folders(path)
    if children and all(child.name.lower() in PART_NAMES for child in children):
        return [(PART_NAMES[child.name.lower()], child) for child in children]
    return [("", path)]


def label_folders(path: Path) -> list[tuple[str, Path, Path]]:
    """Return the part, the folder of pictures and that of labels: PART/images, images/PART, or images alone."""
    images, labels = path / YOLO_IMAGES, path / YOLO_LABELS
    if images.is_dir() and labels.is_dir():
        below = [folder.name for folder in visible_folders(images)]
        if below and all(name.lower() in PART_NAMES for name in below):
            return [(PART_NAMES[name.lower()], images / name, labels / name) for name in below]
        return [("", images, labels)]
    parts = [folder for folder in visible_folders(path) if folder.name.lower() in PART_NAMES]
    each = [(PART_NAMES[folder.name.lower()], folder / YOLO_IMAGES, folder / YOLO_LABELS) for folder in parts]
    return [(part, pictures, label) for part, pictures, label in each if pictures.is_dir() and label.is_dir()]


def visible_folders(path: Path) -> list[Path]:
    """List the subfolders of a folder, without hidden ones such as thumbnail caches."""
    return sorted(child for child in path.iterdir() if child.is_dir() and not child.name.startswith("."))


def part_of(file: Path) -> str:
    """Return the part at the start of a file name, such as `dev.tsv` or `train-00001.parquet`; else ''."""
    name = file.name.lower()
    for word, part in PART_NAMES.items():
        if name.startswith(word) and not name[len(word)].isalpha():
            return part
    return ""


def visible_files(folder: Path) -> list[Path]:
    """List the files of a folder, recursively, sorted and without hidden ones."""
    found = (file for file in folder.rglob("*") if file.is_file())
    return sorted(file for file in found if not any(part[0] == "." for part in file.relative_to(folder).parts))


def archive_paths(folder: Path) -> list[Path]:
    """List the tar archives of a folder, recursively and without hidden ones."""
    return sorted(path for path in folder.rglob("*.tar") if not path.name.startswith(".") and path.is_file())


def image_paths(folder: Path) -> list[Path]:
    """List the images of a folder, recursively and without hidden ones."""
    found = (file for file in folder.rglob("*") if file.suffix.lower() in IMAGE_SUFFIXES)
    return sorted(file for file in found if not any(part[0] == "." for part in file.relative_to(folder).parts))


def language_files(folder: Path) -> dict[str, dict[str, Path]]:
    """Return the files of parallel texts by what their names begin with, such as `train`, and by language.

    A language is the end of a name, such as en or pt-BR; a folder is plain, and files of other names are left out.
    """
    found: dict[str, dict[str, Path]] = {}
    for file in sorted(file for file in folder.iterdir() if file.is_file() and not file.name.startswith(".")):
        name, _, language = file.name.removesuffix(".gz").rpartition(".")
        if name and _LANGUAGE.fullmatch(language) and language not in _NO_LANGUAGES:
            found.setdefault(name, {})[language] = file
    return found
