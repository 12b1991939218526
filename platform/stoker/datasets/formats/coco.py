"""Pictures with boxes in the JSON of COCO: a file for each part, beside the pictures or in a folder of their own."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from stoker.datasets.folders import PART_NAMES, visible_folders
from stoker.datasets.formats.boxed_pictures import Annotated, records_of, require
from stoker.datasets.formats.coco_files import annotation_files
from stoker.datasets.formats.encodings import not_json
from stoker.datasets.records import Records
from stoker.datasets.values.boxes import Box
from stoker.job.dataset import Dataset

LISTS = ("images", "annotations", "categories")
_WORD = re.compile(r"[a-z]+")


def read(path: Path, dataset: Dataset) -> Records:
    """Read every picture with its boxes; those of crowds, which cover many objects, are left out.

    Raises:
        JobError: a picture is missing, or a file is broken.

    """
    files = annotation_files(path)
    require(iter([] if files else [f"no JSON with {', '.join(LISTS)} in '{path}'"]))
    parts = [_part(file, path) for file in files]
    if not all(parts):
        require(iter(_unnamed(files, parts, path)))
    root = path if path.is_dir() else path.parent
    found, mistakes = [], []
    for file, part in zip(files, parts, strict=True):
        try:
            found += list(_pictures(_content(file), file, root, part))
        except ValueError as error:
            mistakes.append(f"{file.relative_to(root)}: {error}")
    require(iter(mistakes))
    return records_of(root, found)


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


def _pictures(content: dict[str, list[Any]], file: Path, root: Path, part: str) -> Iterator[Annotated]:
    """Yield the pictures of a file.

    Raises:
        ValueError: an entry lacks something, or two have the same id.

    """
    names = {_value(each, "id", "category"): str(_value(each, "name", "category")) for each in content["categories"]}
    boxes: dict[Any, list[Box]] = {}
    for each in content["images"]:
        number = _value(each, "id", "image")
        if number in boxes:
            raise ValueError(f"two images have the id {number}; give each its own")
        boxes[number] = []
    for each in content["annotations"]:
        image, category = _value(each, "image_id", "annotation"), _value(each, "category_id", "annotation")
        where = f"annotation {each.get('id', '')}"
        if image not in boxes:
            raise ValueError(f"{where} is of image {image}, which 'images' does not have; add or remove it")
        if category not in names:
            known = ", ".join(map(str, names))
            raise ValueError(f"{where} is of category {category}, which 'categories' does not have ({known})")
        if not each.get("iscrowd"):
            boxes[image].append(_box(names[category], each, where))
    folders = _folders(file, root)
    for each in content["images"]:
        name = str(_value(each, "file_name", "image"))
        picture = next((folder / name for folder in folders if (folder / name).is_file()), None)
        if picture is None:
            searched = ", ".join(str(folder.relative_to(root)) for folder in folders[:3])
            raise ValueError(f"there is no picture '{name}' (looked in {searched}, ...); add it, or remove its entry")
        yield Annotated(picture, f"{file.relative_to(root)}, image {each['id']}", tuple(boxes[each["id"]]), part)


def _value(entry: Any, key: str, what: str) -> Any:
    if not isinstance(entry, dict) or not isinstance(entry.get(key), int | str):
        raise ValueError(f"an entry of COCO's {what} lacks '{key}': {json.dumps(entry)[:80]}")
    return entry[key]


def _box(name: str, entry: dict[str, Any], where: str) -> Box:
    """Read [left, top, width, height]."""
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
