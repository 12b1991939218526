"""Pictures with boxes as the programs of the YOLO family take them: images/ and labels/ with a text file each."""

from collections.abc import Iterator
from pathlib import Path

import yaml

from stoker.datasets.folders import image_paths, label_folders
from stoker.datasets.formats.boxed_pictures import Annotated, records_of, require
from stoker.datasets.records import Records
from stoker.datasets.values.boxes import Box
from stoker.errors import JobError, Problem
from stoker.job.dataset import Dataset
from stoker.job.formats import YOLO_LABELS

NAMES = "classes.txt"
MOST_SHARE = 2.0
"""Numbers above it are pixels, not shares of the picture a little out of it."""


def read(path: Path, dataset: Dataset) -> Records:
    """Read every picture with its boxes; one without a file of labels shows nothing.

    Raises:
        JobError: a file of labels has no picture or is broken, or the names of the classes are missing.

    """
    names = _names(path)
    found: list[Annotated] = []
    mistakes: list[str] = []
    for part, pictures, labels in label_folders(path):
        by_name = {_name_in(labels, file): file for file in sorted(labels.rglob("*.txt")) if file.name != NAMES}
        for picture in image_paths(pictures):
            file = by_name.pop(_name_in(pictures, picture), None)
            where = str((file or picture).relative_to(path))
            try:
                boxes = tuple(_boxes(file, names)) if file else ()
            except ValueError as error:
                mistakes.append(f"{where}, {error}")
            else:
                found.append(Annotated(picture, where, boxes, part, in_shares=True))
        for file in by_name.values():
            there = pictures.relative_to(path)
            mistakes.append(
                f"{file.relative_to(path)} has no picture of its name in {there}/; add it, or remove the file"
            )
    require(iter(mistakes))
    return records_of(path, found)


def _names(path: Path) -> dict[int, str]:
    """Read the names of the classes from data.yaml or classes.txt.

    Raises:
        JobError: there is neither, or it holds no names.

    """
    for file in (*sorted(path.glob("*.yaml")), *sorted(path.glob("*.yml"))):
        try:
            content = yaml.safe_load(file.read_text(encoding="utf-8"))
        except yaml.YAMLError:
            continue
        listed = content.get("names") if isinstance(content, dict) else None
        if isinstance(listed, list):
            return {number: str(name) for number, name in enumerate(listed)}
        if isinstance(listed, dict) and all(isinstance(number, int) for number in listed):
            return {number: str(name) for number, name in listed.items()}
    for file in (path / NAMES, path / YOLO_LABELS / NAMES):
        if file.is_file():
            lines = file.read_text(encoding="utf-8").split("\n")
            return {number: line.strip() for number, line in enumerate(lines) if line.strip()}
    message = f"'{path}' names no classes: write data.yaml with `names: [first, second]`, or {NAMES} with one a line"
    raise JobError([Problem("dataset.source", message)])


def _name_in(folder: Path, file: Path) -> Path:
    return file.relative_to(folder).with_suffix("")


def _boxes(file: Path, names: dict[int, str]) -> Iterator[Box]:
    """Yield the boxes of a file: class, middle, width and height as shares; of an outline, what is around it.

    Raises:
        ValueError: a line is broken.

    """
    for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), 1):
        values = line.split()
        if not values:
            continue
        try:
            label, places = int(values[0]), [float(value) for value in values[1:]]
        except ValueError:
            raise ValueError(f"line {number}: '{line}' is not a class and numbers") from None
        if label not in names:
            known = f"{min(names)} to {max(names)}" if names else "none"
            raise ValueError(f"line {number}: there is no class {label} (named are {known}); correct it, or name it")
        if any(abs(place) > MOST_SHARE for place in places):
            message = "has numbers in pixels, not in shares of width and height; divide them by these"
            raise ValueError(f"line {number}: '{line}' {message}")
        if len(places) == 4:
            x, y, width, height = places
            yield Box(names[label], x - width / 2, y - height / 2, x + width / 2, y + height / 2)
        elif len(places) >= 6 and len(places) % 2 == 0:
            yield Box(names[label], min(places[::2]), min(places[1::2]), max(places[::2]), max(places[1::2]))
        else:
            raise ValueError(f"line {number}: '{line}' is not a class, x, y, width and height; correct or remove it")
