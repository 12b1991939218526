"""Pictures with boxes in the layout of Pascal VOC: JPEGImages/, Annotations/ with an XML file each, ImageSets/Main/."""

from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

from stoker.datasets.folders import PART_NAMES, image_paths
from stoker.datasets.formats.boxed_pictures import Annotated, records_of, require
from stoker.datasets.records import Records
from stoker.datasets.values.boxes import Box
from stoker.job.dataset import Dataset
from stoker.job.formats import VOC_ANNOTATIONS, VOC_IMAGES

SETS = Path("ImageSets") / "Main"
SIDES = ("xmin", "ymin", "xmax", "ymax")


def read(path: Path, dataset: Dataset) -> Records:
    """Read every picture with its boxes; those that no list names are left out where there are lists of the parts.

    Raises:
        JobError: a picture has no annotation, an annotation no picture, or one of them is broken.

    """
    pictures = {file.stem: file for file in image_paths(path / VOC_IMAGES)}
    annotations = {file.stem: file for file in sorted((path / VOC_ANNOTATIONS).glob("*.xml"))}
    require(_unpaired(pictures, annotations, path))
    parts = _parts(path)
    require(_unlisted(parts, pictures, path))
    chosen = parts or dict.fromkeys(pictures, "")
    mistakes: list[str] = []
    found = []
    for name in sorted(chosen):
        where = str(annotations[name].relative_to(path))
        try:
            found.append(Annotated(pictures[name], where, tuple(_boxes(annotations[name])), chosen[name]))
        except ElementTree.ParseError as error:
            mistakes.append(f"{where}: {error}; repair it, or remove it with its picture")
        except ValueError as error:
            mistakes.append(f"{where}: {error}")
    require(iter(mistakes))
    return records_of(path, found)


def _unpaired(pictures: dict[str, Path], annotations: dict[str, Path], root: Path) -> Iterator[str]:
    for name, picture in pictures.items():
        if name not in annotations:
            cure = f"write {VOC_ANNOTATIONS}/{name}.xml, without an object where it shows none, or remove the picture"
            yield f"{picture.relative_to(root)} has no annotation; {cure}"
    for name in annotations:
        if name not in pictures:
            yield f"{VOC_ANNOTATIONS}/{name}.xml has no picture in {VOC_IMAGES}/; add it, or remove the annotation"


def _parts(root: Path) -> dict[str, str]:
    """Return the part of each picture by the lists train.txt, val.txt and test.txt; empty without lists."""
    listed: dict[str, str] = {}
    mistakes = []
    for file in sorted((root / SETS).glob("*.txt")):
        part = PART_NAMES.get(file.stem.lower())
        if part is None:
            continue  # trainval, or the pictures of one class
        for line in file.read_text(encoding="utf-8").splitlines():
            if not line.split():
                continue
            name = line.split()[0]
            if listed.setdefault(name, part) != part:
                mistakes.append(f"{file.relative_to(root)} names {name}, which is in {listed[name]}, too; remove one")
    require(iter(mistakes))
    return listed


def _unlisted(parts: dict[str, str], pictures: dict[str, Path], root: Path) -> Iterator[str]:
    for name, part in parts.items():
        if name not in pictures:
            yield f"{SETS}/{part}.txt names {name}, of which there is no picture in {VOC_IMAGES}/; remove the line"


def _boxes(file: Path) -> Iterator[Box]:
    """Yield the objects of an annotation; VOC counts pixels from 1, and its last ones are inside.

    Raises:
        ValueError: an object has no name or no box.

    """
    for number, item in enumerate(ElementTree.parse(file).getroot().iter("object"), 1):  # noqa: S314  # no entities are fetched
        name = (item.findtext("name") or "").strip()
        if not name:
            raise ValueError(f"object {number} has no name; write <name>CLASS</name>")
        try:
            left, top, right, bottom = (float(item.findtext(f"bndbox/{side}") or "") for side in SIDES)
        except ValueError:
            cure = "write <bndbox> with xmin, ymin, xmax and ymax"
            raise ValueError(f"object {number} ({name}) has no box of four numbers; {cure}") from None
        yield Box(name, left - 1, top - 1, right, bottom)
