from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from stoker.datasets.columns import Dense, Lazy
from stoker.datasets.fields.image import ImageField
from stoker.datasets.pictures.images import decode_images
from stoker.datasets.records import Files
from stoker.errors import JobError
from stoker.job.dataset import Dataset
from stoker.job.signature import ImageInput

SETTINGS = Dataset(source="images")


def fit(pixels: np.ndarray) -> ImageField:
    return ImageField.fit("image", pixels, SETTINGS)


@pytest.fixture
def files(tmp_path: Path) -> Files:
    for level in (10, 20, 30):
        Image.new("L", (6, 4), level).save(tmp_path / f"{level}.png")
    return Files(tuple(tmp_path / f"{level}.png" for level in (10, 20, 30)), tmp_path)


def test_images_are_standardised_per_channel():
    pixels = np.random.default_rng(0).integers(0, 256, (5, 4, 6, 3), np.uint8)
    field = fit(pixels)
    assert field.mean == pytest.approx(tuple(pixels.mean(axis=(0, 1, 2))))
    assert field.scale == pytest.approx(tuple(pixels.std(axis=(0, 1, 2))))
    assert ImageField.shape([field]) == ImageInput(channels=3, height=4, width=6)
    scaled = field.prepare(torch.from_numpy(pixels))
    assert scaled.shape == (5, 3, 4, 6)
    assert scaled.is_contiguous(memory_format=torch.channels_last)
    expected = (pixels - pixels.mean(axis=(0, 1, 2))) / pixels.std(axis=(0, 1, 2))
    np.testing.assert_allclose(scaled.permute(0, 2, 3, 1), expected, atol=1e-5)


def test_standardised_images_are_decoded_to_their_pixels():
    pixels = np.random.default_rng(0).integers(0, 256, (5, 4, 6, 3), np.uint8)
    field = fit(pixels)
    assert (field.pixels(field.prepare(torch.from_numpy(pixels))).numpy() == pixels).all()


def test_blank_images_are_not_divided_by_zero():
    assert fit(np.full((2, 3, 3, 1), 7, np.uint8)).scale == (1.0,)


def test_images_of_another_shape_are_refused():
    field = ImageField("image", 8, 8, 1, (0.0,), (1.0,))
    with pytest.raises(JobError) as caught:
        field.fitting(np.zeros((2, 9, 8, 1), np.uint8))
    assert str(caught.value) == "the model takes images of 8 x 8 x 1 (height, width, channels), not 9 x 8 x 1"
    with pytest.raises(JobError, match="not 8 x 8 x 3"):
        field.encode(np.zeros((2, 8, 8, 3), np.uint8))


def test_grey_images_are_converted_to_colour():
    field = ImageField("image", 2, 2, 3, (0.0,) * 3, (1.0,) * 3)
    pixels = np.arange(4, dtype=np.uint8).reshape(1, 2, 2)
    fitting = field.fitting(pixels)
    assert fitting.shape == (1, 2, 2, 3)
    assert (fitting == pixels[..., None]).all()


def test_other_types_are_converted_to_bytes():
    field = ImageField("image", 1, 3, 1, (0.0,), (1.0,))
    assert field.fitting(np.array([[[-5.0, 12.7, 400.0]]])).flatten().tolist() == [0, 12, 255]


def test_images_in_memory_are_stored_as_bytes(files: Files):
    column = fit(np.zeros((1, 4, 6, 1), np.uint8)).encode(np.full((3, 4, 6, 1), 9, np.uint8))
    assert isinstance(column, Dense)
    assert column.values.dtype == torch.uint8
    assert column.values.shape == (3, 4, 6, 1)


def test_files_are_decoded_on_access(files: Files):
    column = ImageField("image", 2, 5, 3, (0.0,) * 3, (1.0,) * 3).encode(files)
    assert isinstance(column, Lazy)
    taken = column.take(torch.tensor([2, 0]))
    assert taken.shape == (2, 2, 5, 3)
    assert taken[:, 0, 0].tolist() == [[30] * 3, [10] * 3]
    files.paths[1].write_bytes(b"")
    assert column.take(torch.tensor([0])).shape == (1, 2, 5, 3)
    with pytest.raises(JobError, match=r"cannot read 20\.png \(an empty file\)"):
        column.take(torch.tensor([0, 1]))


def test_a_column_of_paths_is_a_column_of_files(files: Files):
    field = ImageField("image", 4, 6, 1, (0.0,), (1.0,))
    column = field.encode(pd.Series([str(path) for path in files.paths]))
    assert torch.equal(column.take(torch.arange(3)), field.decode(files))


def test_a_model_reads_deep_grey_by_the_bits_of_its_training_files(tmp_path: Path):
    for number, level in enumerate((1000, 4000, 500)):
        Image.fromarray(np.full((4, 6), level, np.uint16)).save(tmp_path / f"{number}.png")
    train, new = (Files(tuple(tmp_path / f"{number}.png" for number in numbers)) for numbers in ((0, 1), (2,)))
    train = replace(train, bits=12)
    field = ImageField.fit("image", replace(train, content=decode_images(train, None)), SETTINGS)
    assert field.bits == 12
    assert field.decode(new)[0, 0, 0].tolist() == [500 >> 4]
