from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import ExifTags, Image

from stoker.datasets.pictures.headers import image_sizes
from stoker.datasets.pictures.images import decode_images, resize, resize_masks
from stoker.datasets.pictures.masks import decode_masks
from stoker.datasets.records import Files
from stoker.errors import JobError

TURNS = {
    1: None,
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}
"""For each EXIF orientation how an upright image is stored."""


@pytest.fixture
def save(tmp_path: Path):
    """Save arrays or images as files of these names."""

    def saved(**images: np.ndarray | Image.Image) -> Files:
        paths = []
        for name, image in images.items():
            paths.append(tmp_path / (name if "." in name else f"{name}.png"))
            (image if isinstance(image, Image.Image) else Image.fromarray(image)).save(paths[-1])
        return Files(tuple(paths), tmp_path)

    return saved


def problem(call, *arguments: object) -> tuple[str, str]:
    with pytest.raises(JobError) as caught:
        call(*arguments)
    (found,) = caught.value.problems
    return found.path, found.message


def test_grey_images_have_one_channel(save):
    files = save(a=Image.new("L", (4, 3), 50), b=Image.new("1", (4, 3), 1))
    pixels = decode_images(files, None)
    assert pixels.shape == (2, 3, 4, 1)
    assert pixels.dtype == np.uint8
    assert pixels[:, 0, 0, 0].tolist() == [50, 255]


def test_one_colour_image_makes_all_colour(save):
    files = save(a=Image.new("L", (4, 4), 50), b=Image.new("RGB", (4, 4), (1, 2, 3)))
    assert decode_images(files, None)[:, 0, 0].tolist() == [[50, 50, 50], [1, 2, 3]]


def test_the_number_of_channels_can_be_set(save):
    files = save(a=Image.new("L", (4, 4), 50), b=Image.new("RGB", (4, 4), (9, 9, 9)))
    assert decode_images(files, None, 1)[:, 0, 0].tolist() == [[50], [9]]
    assert decode_images(files.rows(np.array([0])), None, 3)[:, 0, 0].tolist() == [[50, 50, 50]]


@pytest.mark.parametrize("mode", ["RGBA", "P", "CMYK", "YCbCr", "LA"])
def test_every_mode_becomes_grey_or_colour(save, mode: str):
    suffix = "tif" if mode in ("CMYK", "YCbCr") else "png"
    image = Image.new("RGB", (4, 4), (90, 90, 90)).convert(mode, palette=Image.Palette.ADAPTIVE)
    pixels = decode_images(save(**{f"a.{suffix}": image}), None)
    assert pixels.shape[3] == (1 if mode == "LA" else 3)
    assert abs(pixels.astype(int) - 90).max() <= 2


def test_sixteen_bits_keep_their_shades(save):
    pixels = np.array([[0, 0x1234], [0x8000, 0xFFFF]], np.uint16)
    assert decode_images(save(deep=pixels), None)[0, ..., 0].tolist() == [[0, 0x12], [0x80, 0xFF]]


@pytest.mark.parametrize("bits", [8, 10, 12, 16])
def test_deep_values_keep_the_upper_ones_of_the_bits_that_are_used(save, bits: int):
    most = 2**bits - 1
    files = replace(save(deep=np.array([[0, most // 2], [most, most]], np.uint16)), bits=bits)
    assert decode_images(files, None)[0, ..., 0].tolist() == [[0, 127], [255, 255]]


@pytest.mark.parametrize("most", [1.0, 255.0])
def test_real_numbers_up_to_one_or_up_to_a_byte_are_shades(save, most: float):
    values = np.array([[0.0, 0.2], [0.4, 1.0]], np.float32) * most
    assert decode_images(save(**{"a.tif": values}), None)[0, ..., 0].tolist() == [[0, 51], [102, 255]]


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_transparent_pixels_are_white(save, mode: str):
    image = Image.new("RGBA", (4, 4), (200, 0, 0, 0))
    image.putpixel((1, 1), (90, 90, 90, 255))
    pixels = decode_images(save(a=image.convert(mode)), None)[0]
    assert (pixels[0, 0] == 255).all()
    assert abs(pixels[1, 1].astype(int) - 90).max() <= 1


@pytest.mark.parametrize("suffix", ["jpg", "png", "tif", "webp"])
@pytest.mark.parametrize("size", [None, (6, 4)])
def test_images_are_turned_upright(tmp_path: Path, suffix: str, size: tuple[int, int] | None):
    upright = np.zeros((12, 8), np.uint8)
    upright[:6, :4] = 255  # only the upper left is light
    for number, back in TURNS.items():
        image = Image.fromarray(upright)
        image = image if back is None else image.transpose(back)
        exif = Image.Exif()
        exif[ExifTags.Base.Orientation] = number
        image.convert("RGB").save(path := tmp_path / f"{number}.{suffix}", exif=exif)
        assert image_sizes(Files((path,))) == [(12, 8)]
        pixels = decode_images(Files((path,)), size)[0, ..., 0]
        height, width = size or (12, 8)
        assert pixels.shape == (height, width)
        light = pixels > 127
        assert light[: height // 2 - 1, : width // 2 - 1].all()
        assert not light[height // 2 + 1 :].any()
        assert not light[:, width // 2 + 1 :].any()


def test_a_large_jpeg_shows_the_same_decoded_at_a_smaller_scale(save):
    soft = Image.fromarray(np.random.default_rng(0).integers(0, 256, (15, 20, 3), np.uint8)).resize((1600, 1200))
    small, whole = (decode_images(save(**{f"a.{suffix}": soft}), (48, 64)) for suffix in ("jpg", "png"))
    assert abs(small.astype(int) - whole).mean() < 2


def test_images_are_resized_to_height_and_width(save):
    files = save(a=Image.new("L", (4, 4)), b=Image.new("L", (8, 3)))
    assert decode_images(files, (5, 7)).shape == (2, 5, 7, 1)
    assert decode_masks(files, (5, 7)).shape == (2, 5, 7)
    assert image_sizes(files) == [(4, 4), (3, 8)]


def test_images_of_different_sizes_are_reported_with_the_cure(save):
    even = {f"a{number}": Image.new("L", (4, 6)) for number in range(3)}
    expected = "the images differ in size: most are 6x4, odd.png is 5x5; set dataset.image.size, for example 4"
    assert problem(decode_images, save(**even, odd=Image.new("L", (5, 5))), None) == ("dataset.image.size", expected)


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".gif", ".bmp", ".webp", ".tiff"])
def test_a_truncated_image_is_named(tmp_path: Path, suffix: str):
    noise = np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)
    Image.fromarray(noise).save(whole := tmp_path / f"whole{suffix}")
    (tmp_path / f"1{suffix}").write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    path, message = problem(decode_images, Files((whole, tmp_path / f"1{suffix}"), tmp_path), None)
    assert path == "dataset.source"
    assert message.startswith(f"cannot read 1{suffix} (")


def test_each_file_that_does_not_decode_is_named_with_the_reason(tmp_path: Path):
    (tmp_path / "a.png").write_bytes(b"")
    (tmp_path / "b.png").write_bytes(b"text")
    (tmp_path / "c.png").mkdir()
    files = Files(tuple(tmp_path / f"{name}.png" for name in "abcd"), tmp_path)
    for decode in (decode_images, decode_masks):
        path, message = problem(decode, files, None)
        assert path == "dataset.source"
        assert message.startswith("cannot read a.png (an empty file), b.png (not an image), c.png (")
        assert message.endswith(" and 1 more; repair or remove them")
    assert image_sizes(files) == []


class TestMasks:
    def test_pixels_are_unchanged(self, save):
        values = np.array([[0, 1], [7, 255]], np.uint8)
        palette = Image.fromarray(values, "P")
        palette.putpalette([9, 8, 7] * 256)
        masks = decode_masks(save(a=values, b=palette, c=values.astype(np.uint16)), None)
        assert masks.dtype == np.uint8
        assert (masks == values).all()

    def test_black_and_white_are_two_classes(self, save):
        assert decode_masks(save(a=Image.fromarray(np.eye(2, dtype=bool))), None).tolist() == [[[255, 0], [0, 255]]]

    def test_a_mask_with_colours_is_refused(self, save):
        files = save(good=Image.new("L", (2, 2)), colours=Image.new("RGB", (2, 2)))
        expected = "cannot read colours.png (a mask holds one class value a pixel, this is RGB); repair or remove it"
        assert problem(decode_masks, files, None) == ("dataset.source", expected)

    def test_a_value_beyond_a_byte_is_refused(self, save):
        files = save(deep=np.array([[0, 256]], np.uint16))
        expected = "cannot read deep.png (a mask holds class values up to 255); repair or remove it"
        assert problem(decode_masks, files, None) == ("dataset.source", expected)


class TestResizing:
    @pytest.mark.parametrize("channels", [1, 2, 3, 4, 5])
    def test_images_keep_their_channels(self, channels: int):
        levels = np.arange(10, 10 + channels, dtype=np.uint8)
        pixels = np.broadcast_to(levels, (2, 4, 4, channels))
        resized = resize(pixels, (3, 6))
        assert resized.shape == (2, 3, 6, channels)
        assert (resized == levels).all()

    def test_images_of_the_right_size_are_unchanged(self):
        pixels, masks = np.zeros((2, 4, 5, 1), np.uint8), np.zeros((2, 4, 5), np.uint8)
        assert resize(pixels, None) is resize(pixels, (4, 5)) is pixels
        assert resize_masks(masks, None) is resize_masks(masks, (4, 5)) is masks

    def test_an_empty_array_is_resized_to_an_empty_array(self):
        assert resize(np.zeros((0, 4, 4, 3), np.uint8), (2, 2)).shape == (0, 2, 2, 3)

    def test_masks_get_no_new_classes(self):
        masks = np.random.default_rng(0).choice(np.array([0, 9, 200], np.uint8), (3, 8, 8))
        resized = resize_masks(masks, (13, 5))
        assert resized.shape == (3, 13, 5)
        assert set(np.unique(resized)) == {0, 9, 200}

    def test_images_in_memory_and_files_are_resized_equally(self, save):
        pixels = np.random.default_rng(0).integers(0, 256, (1, 9, 9, 3), np.uint8)
        assert (resize(pixels, (4, 5)) == decode_images(save(a=pixels[0]), (4, 5))).all()


def test_no_files_are_no_images():
    none = Files(())
    assert decode_images(none, (4, 5), 3).shape == (0, 4, 5, 3)
    assert decode_masks(none, (4, 5)).shape == (0, 4, 5)
