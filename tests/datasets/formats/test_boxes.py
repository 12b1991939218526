"""Pictures with boxes in the formats of VOC, COCO and YOLO."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from stoker.datasets.loading import load_dataset, read_source
from stoker.datasets.values.boxes import Box, Boxed, boxes_summary
from stoker.errors import JobError
from stoker.job.dataset import Dataset
from stoker.job.task import TASKS

PARTS = {"train": ("a", "b"), "val": ("c",), "test": ("d",)}
BOXES = {
    "a": [("cat", 1, 2, 11, 8), ("dog", 0, 0, 20, 10)],
    "b": [("dog", 4, 4, 8, 8)],
    "c": [("cat", 2, 1, 5, 9)],
    "d": [],
}
"""Class, left, top, right and bottom in pictures of 20x10 pixels."""


def draw(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.zeros((10, 20), np.uint8)).save(path)


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def voc_object(name: str, left: float, top: float, right: float, bottom: float) -> str:
    sides = f"<xmin>{left + 1}</xmin><ymin>{top + 1}</ymin><xmax>{right}</xmax><ymax>{bottom}</ymax>"
    return f"<object><name>{name}</name><bndbox>{sides}</bndbox></object>"


def write_voc(folder: Path) -> None:
    for name, boxes in BOXES.items():
        draw(folder / "JPEGImages" / f"{name}.jpg")
        objects = "".join(voc_object(*box) for box in boxes)
        write(folder / "Annotations" / f"{name}.xml", f"<annotation>{objects}</annotation>")
    for part, names in PARTS.items():
        write(folder / "ImageSets" / "Main" / f"{part}.txt", "\n".join(names) + "\n")
    write(folder / "ImageSets" / "Main" / "trainval.txt", "a\nb\nc\n")


def write_coco(folder: Path) -> None:
    for part, names in PARTS.items():
        images, annotations = [], []
        for number, name in enumerate(names, 1):
            draw(folder / f"{part}2017" / f"{name}.jpg")
            images.append({"id": number, "file_name": f"{name}.jpg", "width": 20, "height": 10})
            for kind, left, top, right, bottom in BOXES[name]:
                sides = [left, top, right - left, bottom - top]
                category = {"cat": 3, "dog": 7}[kind]
                annotations.append({"id": len(annotations), "image_id": number, "category_id": category, "bbox": sides})
        crowd = {"id": 99, "image_id": 1, "category_id": 3, "bbox": [0, 0, 5, 5], "iscrowd": 1}
        categories = [{"id": 3, "name": "cat", "supercategory": "pet"}, {"id": 7, "name": "dog"}]
        content = {"info": {}, "images": images, "annotations": [*annotations, crowd], "categories": categories}
        write(folder / "annotations" / f"instances_{part}2017.json", json.dumps(content))


def write_yolo(folder: Path) -> None:
    for part, names in PARTS.items():
        (folder / "labels" / part).mkdir(parents=True)
        for name in names:
            draw(folder / "images" / part / f"{name}.jpg")
            lines = [
                f"{('cat', 'dog').index(kind)} {(left + right) / 40} {(top + bottom) / 20} {(right - left) / 20} "
                f"{(bottom - top) / 10}"
                for kind, left, top, right, bottom in BOXES[name]
            ]
            if lines:
                write(folder / "labels" / part / f"{name}.txt", "\n".join(lines))
    write(folder / "data.yaml", "train: images/train\nnames:\n  0: cat\n  1: dog\n")


WRITE: dict[str, Callable[[Path], None]] = {"voc": write_voc, "coco": write_coco, "yolo": write_yolo}


@pytest.mark.parametrize("name", WRITE)
def test_each_format_holds_the_same_pictures_boxes_and_parts(name: str, tmp_path: Path):
    WRITE[name](tmp_path)
    records, found = read_source(Dataset(source=str(tmp_path)))
    assert found == name
    assert records.parts is not None
    places = {Path(each).stem: place for place, each in enumerate(records.names)}
    assert {each: records.parts[place] for each, place in places.items()} == {
        each: part for part, names in PARTS.items() for each in names
    }
    for each, place in places.items():
        boxed = Boxed.read(records.columns["boxes"][place])
        assert (boxed.height, boxed.width) == (10, 20)
        assert [(box.name, *box.sides) for box in boxed.boxes] == [
            (kind, *map(pytest.approx, s)) for kind, *s in BOXES[each]
        ]
    data = load_dataset(Dataset(source=str(tmp_path)), TASKS["object-detection"])
    assert data.fields.signature.classes == ("cat", "dog")
    assert "1 of 4 pictures show no object" in data.notes


def test_parts_of_yolo_may_hold_their_folders_and_classes_may_be_a_list(tmp_path: Path):
    for part in ("train", "valid"):
        draw(tmp_path / part / "images" / "a.png")
        write(tmp_path / part / "labels" / "a.txt", "1 0.1 0.1 0.5 0.1 0.5 0.9 0.1 0.9\n")
    write(tmp_path / "classes.txt", "cat\ndog\n")
    records, _ = read_source(Dataset(source=str(tmp_path)))
    assert records.parts is not None
    assert sorted(records.parts) == ["train", "val"]
    (box,) = Boxed.read(records.columns["boxes"][0]).boxes
    assert (box.name, *box.sides) == ("dog", *map(pytest.approx, (2, 1, 10, 9)))  # the outline of an object


def broken(folder: Path, change: Callable[[Path], object]) -> str:
    change(folder)
    with pytest.raises(JobError) as caught:
        read_source(Dataset(source=str(folder)))
    assert {problem.path for problem in caught.value.problems} == {"dataset.source"}
    return "\n".join(problem.message for problem in caught.value.problems)


def with_box(*sides: float) -> Callable[[Path], object]:
    text = f"<annotation>{voc_object('cat', *sides)}</annotation>"
    return lambda folder: write(folder / "Annotations" / "b.xml", text)


def with_lists(**lists: object) -> Callable[[Path], object]:
    def change(folder: Path) -> None:
        file = folder / "annotations" / "instances_train2017.json"
        write(file, json.dumps(json.loads(file.read_text()) | lists))

    return change


TRAIN = "annotations/instances_train2017.json"


@pytest.mark.parametrize(
    ("name", "change", "expected"),
    [
        ("voc", with_box(8, 2, 8, 6), "Annotations/b.xml: box 1 (cat) is empty (left, top, right, bottom: 8, 2, 8, 6); "
         "correct or remove it"),
        ("voc", with_box(8, 6, 12, 2), "Annotations/b.xml: box 1 (cat) is inverted (left, top, right, bottom: "
         "8, 6, 12, 2); correct or remove it"),
        ("voc", with_box(8, 2, 40, 6), "Annotations/b.xml: box 1 (cat) reaches out of its picture of 20x10 "
         "pixels (left, "
         "top, right, bottom: 8, 2, 40, 6); cut it off"),
        ("voc", with_box(8, 2, float("nan"), 6), "Annotations/b.xml: box 1 (cat) has sides that are no numbers (8, 2, "
         "nan, 6); write four numbers"),
        ("voc", lambda folder: (folder / "Annotations" / "b.xml").unlink(), "JPEGImages/b.jpg has no annotation; write "
         "Annotations/b.xml, without an object where it shows none, or remove the picture"),
        ("voc", lambda folder: (folder / "JPEGImages" / "b.jpg").unlink(), "Annotations/b.xml has no picture in "
         "JPEGImages/; add it, or remove the annotation"),
        ("voc", lambda folder: write(folder / "ImageSets" / "Main" / "val.txt", "b\n"),
         "ImageSets/Main/val.txt names b, "
         "which is in train, too; remove one"),
        ("voc", lambda folder: write(folder / "ImageSets" / "Main" / "val.txt", "x\n"),
         "ImageSets/Main/val.txt names x, "
         "of which there is no picture in JPEGImages/; remove the line"),
        ("voc", lambda folder: write(folder / "Annotations" / "b.xml", "<annotation>"),
         "Annotations/b.xml: no element found: line 1, column 12; repair it, or remove it with its picture"),
        ("voc", lambda folder: write(folder / "Annotations" / "b.xml", "<a><object><name>cat</name></object></a>"),
         "Annotations/b.xml: object 1 (cat) has no box of four numbers; write <bndbox> with xmin, ymin, xmax and ymax"),
        ("voc", lambda folder: write(folder / "JPEGImages" / "b.jpg", "no"), "cannot read JPEGImages/b.jpg; repair or "
         "remove it, and its annotation"),
        ("coco", with_lists(categories=[{"id": 3, "name": "cat"}]), f"{TRAIN}: annotation 1 is of category 7, which "
         "'categories' does not have (3); add or remove it"),
        ("coco", with_lists(categories=[{"id": 3, "name": "cat"}, {"id": 3, "name": "dog"}]), f"{TRAIN}: two "
         "categories have the id 3; give each its own"),
        ("coco", with_lists(images=[]), f"{TRAIN}: annotation 0 is of image 1, which 'images' does not have; add or "
         "remove it"),
        ("coco", with_lists(images=[{"id": 1, "file_name": "a.jpg"}] * 2), f"{TRAIN}: two images have the id 1; give "
         "each its own"),
        ("coco", with_lists(annotations=[{"id": 5, "image_id": 1, "category_id": 3, "bbox": [1, 2, 1, 1]}] * 2),
         f"{TRAIN}: two annotations have the id 5; give each its own, or remove one that is there twice"),
        ("coco", with_lists(images=[{"id": 1, "file_name": "a.jpg"}, {"id": 2, "file_name": "x.jpg"}]),
         f"{TRAIN}: there is no picture 'x.jpg' (looked in annotations, train2017, ., ...); add it, or remove "
         f"its entry"),
        ("coco", with_lists(images=[{"id": 1, "file_name": "a.jpg"}, {"id": 2, "file_name": "a.jpg"}]),
         f"train2017/a.jpg is annotated twice, in {TRAIN}, image 1 and {TRAIN}, image 2; remove one of them"),
        ("coco", with_lists(annotations=[{"id": 5, "image_id": 1, "category_id": 3, "bbox": [1, 2]}]),
         f"{TRAIN}: annotation 5 has no 'bbox' of four numbers (left, top, width, height)"),
        ("coco", with_lists(annotations=3), f"{TRAIN}: it has no list 'annotations'; COCO has images, annotations, "
         "categories"),
        ("yolo", lambda folder: write(folder / "labels" / "train" / "b.txt", "2 0.5 0.5 0.1 0.1"),
         "labels/train/b.txt, line 1: there is no class 2 (named are 0 to 1); correct it, or name it"),
        ("yolo", lambda folder: write(folder / "labels" / "train" / "b.txt", "1 0.5 0.5 0.1"),
         "labels/train/b.txt, line 1: '1 0.5 0.5 0.1' is not a class, x, y, width and height; correct or remove it"),
        ("yolo", lambda folder: write(folder / "labels" / "train" / "b.txt", "1 10 5 4 2"),
         "labels/train/b.txt, line 1: '1 10 5 4 2' has numbers in pixels, not in shares of width and height; divide "
         "them by these"),
        ("yolo", lambda folder: write(folder / "labels" / "train" / "x.txt", "1 0.5 0.5 0.1 0.1"),
         "labels/train/x.txt has no picture of its name in images/train/; add it, or remove the file"),
        ("yolo", lambda folder: write(folder / "labels" / "train" / "b.txt", "1 0.9 0.5 0.4 0.1"),
         "labels/train/b.txt: box 1 (dog) reaches out of its picture of 20x10 pixels (left, top, right, "
         "bottom: 14, 4.5, "
         "22, 5.5); cut it off"),
        ("yolo", lambda folder: (folder / "data.yaml").unlink(), "names no classes: write data.yaml with "
         "`names: [first, "
         "second]`, or classes.txt with one a line"),
    ],
)  # fmt: skip
def test_a_mistake_is_named_by_its_file_with_the_cure(name, change, expected, tmp_path: Path):
    WRITE[name](tmp_path)
    assert expected in broken(tmp_path, change)


def test_many_mistakes_of_a_kind_are_counted(tmp_path: Path):
    write_voc(tmp_path)
    for number in range(7):
        draw(tmp_path / "JPEGImages" / f"{number}.jpg")
    lines = broken(tmp_path, lambda folder: None).splitlines()
    assert len(lines) == 3
    assert lines[-1].endswith("(and 4 more of this kind)")


def test_a_training_part_without_boxes_is_refused(tmp_path: Path):
    write_voc(tmp_path)
    for name in PARTS["train"]:
        write(tmp_path / "Annotations" / f"{name}.xml", "<annotation></annotation>")
    with pytest.raises(
        JobError, match="no picture of the training part has a box: there is nothing to learn; draw some"
    ):
        load_dataset(Dataset(source=str(tmp_path)), TASKS["object-detection"])


def test_a_pixel_beyond_the_picture_is_cut_off(tmp_path: Path):
    write_voc(tmp_path)
    with_box(-1, 0, 20, 11)(tmp_path)
    records, _ = read_source(Dataset(source=str(tmp_path)))
    (box,) = Boxed.read(records.columns["boxes"][1]).boxes
    assert box.sides == (0, 0, 20, 10)


def test_the_summary_counts_classes_boxes_and_sizes():
    cats = tuple(Box("cat", 0, 0, side, 2 * side) for side in (4, 6, 10))
    pictures = [Boxed(30, 30, (*cats, Box("dog", 0, 0, 2, 2))), Boxed(30, 30, ())]
    assert boxes_summary(pictures) == (
        "cat (3), dog (1); 0 to 4 a picture (median 2); 2 to 10 wide (median 5), 2 to 20 high (median 10) pixels"
    )
    assert boxes_summary([Boxed(1, 1, ())]) == "no boxes"
