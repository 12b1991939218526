"""Pictures with boxes in the JSON of COCO: a file for each part, beside the pictures or in a folder of their own."""

import json
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from stoker.datasets.folders import PART_NAMES, visible_folders
from stoker.datasets.formats.boxed_pictures import Annotated, records_of, require
from stoker.datasets.formats.coco_files import annotation_files
from stoker.datasets.formats.encodings import not_json
from stoker.datasets.records import Records
from stoker.datasets.values.boxes import Box
from stoker.job.dataset import Dataset

LISTS = ("images", "annotations", "categories")
Made = TypeVar("Made")
SHOWN = 3
_WORD = re.compile(r"[a-z]+")


def read(path: Path, dataset: Dataset) -> Records:
    """Read every picture with its boxes; those of crowds, which cover many objects, are left out.

    Raises:
        JobError: a picture is missing, or a file is broken.

    """
    root, found = listed(path, _box)
    return records_of(root, [Annotated(each.picture, each.annotation, each.objects, each.part) for each in found])


@dataclass(frozen=True)
class Listed(Generic[Made]):
    """A picture with its objects."""

    picture: Path
    annotation: str
    """Where it is written, for messages."""
    objects: tuple[Made, ...]
    part: str
    categories: tuple[str, ...]
    """Of the whole file, in order."""


def listed(path: Path, make: Callable[[str, dict[str, Any], str], Made | None]) -> tuple[Path, list[Listed[Made]]]:
    """Read the pictures of all files; return them with the folder that names are relative to.

    Args:
        path: a file, or a folder with files.
        make: returns an object of its category, its entry and its place for messages; None leaves it out.

    Raises:
        JobError: a picture is missing, or a file is broken.

    """
    files = annotation_files(path)
    if not files:
        there = ", ".join(sorted(file.name for file in path.glob("*.json"))[:SHOWN])
        instead = f"; {there} begins otherwise" if there else ""
        require(iter([f"no JSON with {', '.join(LISTS)} in '{path}'{instead}"]))
    parts = [_part(file, path) for file in files]
    if not all(parts):
        require(iter(_unnamed(files, parts, path)))
    root = path if path.is_dir() else path.parent
    found, mistakes = list[Listed[Made]](), []
    for file, part in zip(files, parts, strict=True):
        try:
            found += list(_pictures(_content(file), file, root, part, make))
        except ValueError as error:
            mistakes.append(f"{file.relative_to(root)}: {error}")
    require(iter(mistakes))
    return root, found


def _part(file: Path, root: Path) -> str:
    """Return the part that a name such as instances_val2017.json has a word for, or the folder of the file."""
    inside = file.relative_to(root) if root.is_dir() else Path(file.name)
    for name in (inside.stem, *inside.parts[-2::-1]):
        for word in _WORD.findall(name.lower()):
            if word in PART_NAMES:
                return PART_NAMES[word]
    return ""


def _unnamed(files: list[Path], parts: list[str], root: Path) -> Iterator[str]:
    """Yield files whose part is not known although there are several."""
    if len(files) > 1:
        for file, part in zip(files, parts, strict=True):
            if not part:
                yield f"{file.relative_to(root)}: which part is it? Name it such as train.json, val.json or test.json"


def _content(file: Path) -> dict[str, list[Any]]:
    try:
        content: dict[str, list[Any]] = json.loads(file.read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise ValueError(f"line {error.lineno} {not_json(error)}") from error
    for name in LISTS:
        if not isinstance(content, dict) or not isinstance(content.get(name), list):
            raise ValueError(f"it has no list '{name}'; COCO has {', '.join(LISTS)}")
    return content


def _pictures(
    content: dict[str, list[Any]],
    file: Path,
    root: Path,
    part: str,
    make: Callable[[str, dict[str, Any], str], Made | None],
) -> Iterator[Listed[Made]]:
    """Yield the pictures of a file.

    Raises:
        ValueError: an entry lacks something, or two have the same id.

    """
    _check_ids("categories", [_value(each, "id", "category") for each in content["categories"]])
    names = {_value(each, "id", "category"): str(_value(each, "name", "category")) for each in content["categories"]}
    _check_ids("images", [_value(each, "id", "image") for each in content["images"]])
    _check_ids("annotations", [each["id"] for each in content["annotations"] if "id" in each])
    objects: dict[Any, list[Made]] = {each["id"]: [] for each in content["images"]}
    for each in content["annotations"]:
        image, category = _value(each, "image_id", "annotation"), _value(each, "category_id", "annotation")
        where = f"annotation {each.get('id', '')}"
        if image not in objects:
            raise ValueError(f"{where} is of image {image}, which 'images' does not have; add or remove it")
        if category not in names:
            known = ", ".join(map(str, names))
            raise ValueError(
                f"{where} is of category {category}, which 'categories' does not have ({known}); add or remove it"
            )
        made = make(names[category], each, where)
        if made is not None:
            objects[image].append(made)
    folders = _folders(file, root)
    for each in content["images"]:
        name = str(_value(each, "file_name", "image"))
        picture = next((folder / name for folder in folders if (folder / name).is_file()), None)
        if picture is None:
            searched = ", ".join(str(folder.relative_to(root)) for folder in folders[:3])
            raise ValueError(f"there is no picture '{name}' (looked in {searched}, ...); add it, or remove its entry")
        where = f"{file.relative_to(root)}, image {each['id']}"
        yield Listed(picture, where, tuple(objects[each["id"]]), part, tuple(names.values()))


def _check_ids(what: str, ids: Sequence[Any]) -> None:
    if twice := [number for number, count in Counter(ids).items() if count > 1]:
        raise ValueError(f"two {what} have the id {twice[0]}; give each its own, or remove one that is there twice")


def _value(entry: Any, key: str, what: str) -> Any:
    if not isinstance(entry, dict) or not isinstance(entry.get(key), int | str):
        raise ValueError(f"an entry of COCO's {what} lacks '{key}': {json.dumps(entry)[:80]}")
    return entry[key]


def _box(name: str, entry: dict[str, Any], where: str) -> Box | None:
    """Read [left, top, width, height]; None for a crowd."""
    if entry.get("iscrowd"):
        return None
    try:
        left, top, width, height = map(float, entry["bbox"])
    except (KeyError, TypeError, ValueError):
        raise ValueError(f"{where} has no 'bbox' of four numbers (left, top, width, height)") from None
    return Box(name, left, top, left + width, top + height)


def _folders(file: Path, root: Path) -> list[Path]:
    """Return where the pictures of a file may be, the likeliest first."""
    above = [file.parent, root]
    below = [folder for each in above for folder in visible_folders(each)]
    deeper = [folder for each in below for folder in visible_folders(each)]
    part = _part(file, root)
    named = [folder for folder in (*below, *deeper) if part and _part(folder / "x", root) == part]
    return list(dict.fromkeys([file.parent, *named, *above, *below, *deeper]))
