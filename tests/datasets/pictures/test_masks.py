"""Masks of numbers, palettes and colours: how they are read, and what is wrong with them."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from stoker.datasets.dataset import LoadedDataset
from stoker.datasets.fields.mask import MaskField
from stoker.datasets.loading import load_dataset
from stoker.errors import JobError
from stoker.job.dataset import Dataset
from stoker.job.signature import IGNORED
from stoker.job.task import TASKS

PALETTE = [10, 20, 30, 255, 0, 0, 0, 0, 255, 9, 9, 9]
COLOURS = np.array([[0, 0, 0], [255, 0, 0], [0, 0, 255], [255, 255, 255]], np.uint8)
CLASSES = np.array([[0, 0, 1, 1, 2], [0, 0, 1, 1, 2], [0, 0, 0, 0, 2], [0, 0, 0, 0, 3]], np.uint8)
"""Of each mask; 3 is to be ignored."""


def draw(kind: str) -> Image.Image:
    if kind == "colour":
        return Image.fromarray(COLOURS[CLASSES])
    image = Image.fromarray(CLASSES)
    if kind == "palette":
        image.putpalette(PALETTE)
    return image


def write(folder: Path, kind: str, suffix: str = "png") -> Path:
    for name in ("images", "masks"):
        (folder / name).mkdir(exist_ok=True)
    for number in range(10):
        Image.fromarray(np.full((4, 5), 20 * number, np.uint8)).save(folder / "images" / f"{number}.png")
        draw(kind).save(folder / "masks" / f"{number}.{suffix}")
    return folder


def load(folder: Path, **mask: object) -> LoadedDataset:
    dataset = Dataset.model_validate({"source": str(folder), "format": "image-mask", "mask": mask})
    return load_dataset(dataset, TASKS["segmentation"])


def problem(folder: Path, **mask: object) -> tuple[str, str]:
    with pytest.raises(JobError) as caught:
        load(folder, **mask)
    (found,) = caught.value.problems
    return found.path, found.message


def field_of(data: LoadedDataset) -> MaskField:
    assert isinstance(data.fields.target, MaskField)
    return data.fields.target


NUMBERS = {"soil": 0, "crop": 1, "weed": 2}
NAMED = {"soil": "#000000", "crop": [255, 0, 0], "weed": "#0000FF"}


@pytest.mark.parametrize(
    ("kind", "mask", "classes"),
    [
        ("grey", {"ignore": 3}, ("0", "1", "2")),
        ("grey", {"classes": NUMBERS, "ignore": 3}, ("soil", "crop", "weed")),
        ("palette", {"ignore": 3}, ("0", "1", "2")),
        ("palette", {"classes": {"soil": "#0a141e", "crop": "#ff0000", "weed": "#0000ff"}, "ignore": "#090909"}, ()),
        ("colour", {"ignore": "#ffffff"}, ("#000000", "#0000ff", "#ff0000")),
        ("colour", {"classes": NAMED, "ignore": [255, 255, 255]}, ("soil", "crop", "weed")),
    ],
)
def test_each_kind_of_mask_is_read_and_written_as_it_was(kind, mask, classes, tmp_path):
    data = load(write(tmp_path, kind), **mask)
    field = field_of(data)
    names = classes or ("soil", "crop", "weed")
    assert field.output.classes == names
    target = data.parts["train"].target.take(torch.arange(1))
    order = [0, 2, 1] if names[1] == "#0000ff" else [0, 1, 2]
    expected = np.array([*np.argsort(order), IGNORED], np.uint8)[CLASSES]
    assert target[0].tolist() == expected.tolist()
    again = field.pixels(torch.where(target == IGNORED, 0, target.long()))[0]
    written = np.asarray(draw(kind).convert("RGB") if field.colours else draw(kind))
    known = expected != IGNORED
    assert (again[known] == written[known]).all()
    assert field.palette[:12] == (tuple(PALETTE) if kind == "palette" and not field.colours else ())
    assert (field.places(again)[known] == expected[known]).all()


def test_found_colours_are_listed(tmp_path):
    (note,) = [note for note in load(write(tmp_path, "colour")).notes if "colours" in note]
    assert note.startswith("the masks have 4 colours: #000000, #0000ff, #ff0000, #ffffff;")


def test_masks_of_several_kinds_are_named(tmp_path):
    draw("colour").save(write(tmp_path, "palette") / "masks" / "7.png")
    message = (
        "the masks are of several kinds: most are palette, but not masks/7.png (colour); save all of them in one way"
    )
    assert problem(tmp_path) == ("dataset.source", message)


def test_a_lossy_mask_is_named(tmp_path):
    path, message = problem(write(tmp_path, "grey", "jpg"))
    assert path == "dataset.source"
    assert "masks/0.jpg (a JPEG file, whose compression changes values; save masks as png)" in message


def test_a_colour_that_no_class_has_is_named_with_its_place(tmp_path):
    path, message = problem(write(tmp_path, "colour"), classes=NAMED)
    assert path == "dataset.source"
    assert "it has the colour #ffffff at row 3, column 4; known are #000000, #ff0000, #0000ff" in message


def test_a_value_that_no_class_has_is_named(tmp_path):
    path, message = problem(write(tmp_path, "grey"), classes=NUMBERS)
    assert path == "dataset.source"
    assert "has pixels of value 3, which dataset.mask.classes does not name (named: 0, 1, 2); name it" in message


def test_a_class_in_no_training_mask_is_named(tmp_path):
    path, message = problem(write(tmp_path, "grey"), classes={**NUMBERS, "stone": 7}, ignore=3)
    assert path == "dataset.mask.classes.stone"
    assert message.startswith("'stone' (7) is in no training mask, so that it cannot be learnt; correct its value")


@pytest.mark.parametrize(
    ("kind", "classes", "told"),
    [("colour", NUMBERS, "coded by colours; write colours"), ("grey", NAMED, "the masks hold numbers; write these")],
)
def test_classes_of_another_kind_than_the_masks_are_refused(kind, classes, told, tmp_path):
    path, message = problem(write(tmp_path, kind), classes=classes)
    assert path == "dataset.mask.classes"
    assert told in message
