"""What the folders of a set of pictures mean: parts, classes, and files that are pictures."""

from pathlib import Path

from stoker.job.dataset import IMAGE_SUFFIXES

PART_NAMES = {"train": "train", "training": "train", "val": "val", "valid": "val", "validation": "val", "test": "test"}


def part_folders(path: Path) -> list[tuple[str, Path]]:
    """Find the folders train, val and test, or else take the whole folder as one part without a name."""
    children = visible_folders(path)
    if children and all(child.name.lower() in PART_NAMES for child in children):
        return [(PART_NAMES[child.name.lower()], child) for child in children]
    return [("", path)]


def visible_folders(path: Path) -> list[Path]:
    """List the folders in a folder, without hidden ones such as caches of thumbnails."""
    return sorted(child for child in path.iterdir() if child.is_dir() and not child.name.startswith("."))


def picture_files(folder: Path) -> list[Path]:
    """List the pictures of a folder and of the folders below it, without hidden ones."""
    found = (file for file in folder.rglob("*") if file.suffix.lower() in IMAGE_SUFFIXES)
    return sorted(file for file in found if not file.name.startswith("."))
