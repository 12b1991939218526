"""What is said and chosen of image files by their headers, on real files."""

from pathlib import Path

import numpy as np
import pytest
from PIL import ExifTags, Image

from stoker.datasets.fields.inference import Roles
from stoker.datasets.pictures.survey import Survey, proportional_size, survey
from stoker.datasets.records import Files, Records
from stoker.job.dataset import Dataset
from stoker.job.task import TASKS, TaskName

ROLES = Roles({"image": "image"}, "label", ())


def look(folder: Path, task: TaskName = "image-classification", size: int | None = None) -> Survey:
    dataset = Dataset.model_validate({"source": str(folder), "image": {"size": size}})
    return survey(Records({"image": Files(tuple(sorted(folder.iterdir())))}), ROLES, dataset, TASKS[task])


def draw(folder: Path, mode: str = "RGB", suffix: str = "png", count: int = 1, size: tuple[int, int] = (32, 32)):
    for number in range(count):
        Image.new(mode, size).save(folder / f"{mode}-{number}.{suffix}")


@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_nothing_is_said_of_files_of_a_usual_mode(tmp_path: Path, mode: str):
    draw(tmp_path, mode, count=3)
    looked = look(tmp_path)
    assert looked.notes == ()
    assert looked.shape is not None
    assert looked.shape.channels == len(mode)


@pytest.mark.parametrize(
    ("mode", "suffix", "said"),
    [
        ("1", "png", "black and white"),
        ("LA", "png", "grey with transparency (laid on white)"),
        ("F", "tif", "grey of real numbers (those of files up to 1 multiplied by 255)"),
        ("RGBA", "png", "RGBA (laid on white)"),
        ("P", "png", "palette (as its colours)"),
        ("CMYK", "jpg", "CMYK (converted to RGB)"),
        ("YCbCr", "tif", "YCbCr (converted to RGB)"),
    ],
)
def test_each_mode_is_named_with_what_is_done(tmp_path: Path, mode: str, suffix: str, said: str):
    draw(tmp_path, mode, suffix, count=2)
    draw(tmp_path, "RGB", count=3)
    grey = mode in ("1", "LA", "F")
    mixed = "; all have three channels, equal ones where they are grey" if grey else ""
    assert look(tmp_path).notes == (f"modes of 5 image files: 3 RGB, 2 {said}{mixed}",)


def test_a_palette_with_transparency_is_named(tmp_path: Path):
    Image.new("RGBA", (8, 8)).convert("P").save(tmp_path / "a.png", transparency=0)
    assert look(tmp_path).notes == ("modes of 1 image files: 1 palette with transparency (laid on white)",)


@pytest.mark.parametrize(
    ("most", "said"),
    [
        (65535, "16-bit grey (divided by 256)"),
        (4000, "16-bit grey (divided by 16, of which 12 bits are used)"),
        (200, "16-bit grey (as they are, of which 8 bits are used)"),
    ],
)
def test_the_bits_that_deep_grey_uses_are_found(tmp_path: Path, most: int, said: str):
    for number in range(1, 4):
        Image.fromarray(np.full((8, 8), most * number // 3, np.uint16)).save(tmp_path / f"{number}.png")
    assert look(tmp_path).notes == (f"modes of 3 image files: 3 {said}",)


def test_turned_files_are_counted(tmp_path: Path):
    draw(tmp_path, suffix="jpg", count=2)
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    Image.new("RGB", (32, 32)).save(tmp_path / "turned.jpg", exif=exif)
    assert look(tmp_path).notes == ("1 of 3 image files are turned upright, as their EXIF orientation says",)


def test_large_images_are_made_smaller_where_they_are_recognised_as_a_whole(tmp_path: Path):
    draw(tmp_path, suffix="jpg", count=2, size=(400, 300))
    looked = look(tmp_path)
    assert looked.dataset.image.size == (128, 128)
    found = "the images are large, 300x400 (height x width)"
    assert looked.notes == (f"{found}: resized to 128x128; dataset.image.size sets another size",)
    assert look(tmp_path, size=200).dataset.image.size == (200, 200)
    assert look(tmp_path, "segmentation").dataset.image.size is None


def test_images_of_one_moderate_size_stay_as_they_are(tmp_path: Path):
    draw(tmp_path, suffix="jpg", count=2, size=(256, 200))
    assert look(tmp_path).dataset.image.size is None


def test_images_to_find_objects_in_keep_their_proportions(tmp_path: Path):
    draw(tmp_path, suffix="jpg", count=3, size=(640, 480))
    assert look(tmp_path, "object-detection").dataset.image.size is None
    draw(tmp_path, "L", suffix="jpg", count=2, size=(400, 300))
    assert look(tmp_path, "object-detection").dataset.image.size == (480, 640)
    assert proportional_size([(3000, 4000)] * 3) == (480, 640)
    assert proportional_size([(20, 90), (30, 100), (20, 80)]) == (32, 96)
