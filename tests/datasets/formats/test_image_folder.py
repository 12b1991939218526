from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from stoker.datasets.formats.image_folder import decode
from stoker.datasets.loading import read_source
from stoker.datasets.samples import Pictures
from stoker.errors import JobError
from stoker.job.dataset import Dataset


def draw(path: Path, colour: object = 100, mode: str = "L", size: tuple[int, int] = (4, 4)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, size, colour).save(path)  # type: ignore[arg-type]  # an int or a tuple
    return path


def read(path: Path, **settings: object) -> Pictures:
    raw, _ = read_source(Dataset.model_validate({"source": str(path), **settings}))
    assert isinstance(raw, Pictures)
    return raw


def problem(path: Path, **settings: object) -> tuple[str, str]:
    with pytest.raises(JobError) as caught:
        read(path, **settings)
    (found,) = caught.value.problems
    return found.path, found.message


def test_the_folder_of_a_picture_is_its_class(tmp_path: Path):
    draw(tmp_path / "cats" / "1.png", 10)
    draw(tmp_path / "cats" / "deep" / "2.png", 20)
    draw(tmp_path / "dogs" / "1.PNG", 30)
    raw = read(tmp_path)
    assert raw.pixels.shape == (3, 4, 4, 1)
    assert raw.pixels[:, 0, 0, 0].tolist() == [10, 20, 30]
    assert raw.labels is not None
    assert raw.labels.tolist() == ["cats", "cats", "dogs"]
    assert raw.names == ("cats/1.png", "cats/deep/2.png", "dogs/1.PNG")
    assert raw.parts is None


def test_folders_of_parts_are_known(tmp_path: Path):
    for part in ("train", "valid", "test"):
        draw(tmp_path / part / "cats" / "1.png")
        draw(tmp_path / part / "dogs" / "1.png")
    raw = read(tmp_path)
    assert raw.labels is not None
    assert raw.parts is not None
    assert raw.labels.tolist() == ["cats", "dogs"] * 3
    assert raw.parts.tolist() == ["test", "test", "train", "train", "val", "val"]


def test_hidden_files_and_folders_are_passed_over(tmp_path: Path):
    draw(tmp_path / "cats" / "1.png")
    draw(tmp_path / "dogs" / "1.png")
    draw(tmp_path / ".thumbnails" / "1.png")
    (tmp_path / "cats" / "._1.png").write_bytes(b"no picture")
    (tmp_path / "cats" / "notes.txt").write_text("no picture")
    assert len(read(tmp_path)) == 2


def test_one_coloured_picture_makes_all_coloured(tmp_path: Path):
    draw(tmp_path / "a" / "1.png", 50)
    draw(tmp_path / "b" / "1.png", (1, 2, 3), "RGB")
    raw = read(tmp_path)
    assert raw.pixels[:, 0, 0].tolist() == [[50, 50, 50], [1, 2, 3]]


def test_sixteen_bits_keep_their_shades(tmp_path: Path):
    pixels = np.array([[0, 0x1234], [0x8000, 0xFFFF]], np.uint16)
    Image.fromarray(pixels).save(tmp_path / "deep.png")
    assert decode([tmp_path / "deep.png"], None)[0, ..., 0].tolist() == [[0, 0x12], [0x80, 0xFF]]


def test_pictures_are_resized_to_height_and_width(tmp_path: Path):
    draw(tmp_path / "a" / "1.png", size=(4, 4))
    draw(tmp_path / "b" / "1.png", size=(8, 3))
    assert read(tmp_path, image={"size": [5, 7]}).pixels.shape == (2, 5, 7, 1)


def test_pictures_that_do_not_decode_are_named(tmp_path: Path):
    draw(tmp_path / "a" / "1.png")
    (tmp_path / "a" / "2.png").write_bytes(b"no picture")
    expected = "cannot read a/2.png (not a picture); mend or remove it"
    assert problem(tmp_path) == ("dataset.source", expected)
    for number in range(3, 7):
        (tmp_path / "a" / f"{number}.png").write_bytes(b"")
    _, message = problem(tmp_path)
    shown = ", ".join(f"a/{number}.png (not a picture)" for number in (2, 3, 4))
    assert message == f"cannot read {shown} and 2 more; mend or remove them"


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".gif", ".bmp", ".webp", ".tiff"])
def test_a_picture_that_is_cut_short_is_named(tmp_path: Path, suffix: str):
    noise = np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)
    Image.fromarray(noise).save(whole := tmp_path / f"whole{suffix}")
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / f"1{suffix}").write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    path, message = problem(tmp_path)
    assert path == "dataset.source"
    assert message.startswith(f"cannot read a/1{suffix} (")


def test_pictures_of_different_sizes_are_told_with_the_cure(tmp_path: Path):
    for number in range(3):
        draw(tmp_path / "a" / f"{number}.png", size=(4, 6))
    draw(tmp_path / "b" / "odd.png", size=(5, 5))
    expected = "the pictures differ in size: most are 6x4, b/odd.png is 5x5; set dataset.image.size, for example 4"
    assert problem(tmp_path) == ("dataset.image.size", expected)


def test_a_folder_without_pictures_is_told(tmp_path: Path):
    (tmp_path / "a").mkdir()
    expected = f"no pictures in the class folders of '{tmp_path}'"
    assert problem(tmp_path, format="image-folder") == ("dataset.source", expected)
