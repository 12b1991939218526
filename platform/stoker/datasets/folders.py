"""What the names of files and folders mean: parts, classes, and files that are images."""

from pathlib import Path

from stoker.job.dataset import IMAGE_SUFFIXES

PART_NAMES = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "dev": "val",
    "test": "test",
}


def part_folders(path: Path) -> list[tuple[str, Path]]:
    """Find the folders train, val and test, or else take the whole folder as one part without a name."""
    children = visible_folders(path)
    if children and all(child.name.lower() in PART_NAMES for child in children):
        return [(PART_NAMES[child.name.lower()], child) for child in children]
    return [("", path)]


def visible_folders(path: Path) -> list[Path]:
    """List the folders in a folder, without hidden ones such as caches of thumbnails."""
    return sorted(child for child in path.iterdir() if child.is_dir() and not child.name.startswith("."))


def part_of(file: Path) -> str:
    """Return the part that the name of a file begins with, such as `dev.tsv` or `train-00001.parquet`; else ''."""
    name = file.name.lower()
    for word, part in PART_NAMES.items():
        if name.startswith(word) and not name[len(word)].isalpha():
            return part
    return ""


def archive_paths(folder: Path) -> list[Path]:
    """List the tar archives of a folder and of the folders below it, without hidden ones."""
    return sorted(path for path in folder.rglob("*.tar") if not path.name.startswith(".") and path.is_file())


def image_paths(folder: Path) -> list[Path]:
    """List the images of a folder and of the folders below it, without hidden ones."""
    found = (file for file in folder.rglob("*") if file.suffix.lower() in IMAGE_SUFFIXES)
    return sorted(file for file in found if not any(part[0] == "." for part in file.relative_to(folder).parts))
