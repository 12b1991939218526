from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from stoker.datasets.columns import Dense, Lazy
from stoker.datasets.fields.mask import MAX_CLASSES, MaskField
from stoker.datasets.pictures.masks import decode_masks
from stoker.datasets.records import Files
from stoker.errors import JobError
from stoker.job.dataset import Dataset
from stoker.job.signature import MaskOutput

CURE = "; correct it, move it to the training part, or set dataset.mask.ignore"


def fit(masks: np.ndarray | Files) -> MaskField:
    return MaskField.fit("mask", masks, Dataset(source="masks"))


def problem(call, *arguments: object) -> str:
    with pytest.raises(JobError) as caught:
        call(*arguments)
    (found,) = caught.value.problems
    assert found.path == "dataset.source"
    return found.message


def write(folder: Path, **masks: np.ndarray) -> Files:
    for name, mask in masks.items():
        Image.fromarray(mask.astype(np.uint8)).save(folder / f"{name}.png")
    return Files(tuple(folder / f"{name}.png" for name in masks), folder)


MASKS = np.array([[[0, 0, 255], [128, 0, 0]], [[0, 0, 0], [0, 0, 255]]], np.uint8)


def test_pixels_are_indices_of_their_values():
    field = fit(MASKS)
    assert field.values == (0, 128, 255)
    assert field.output == MaskOutput(("0", "128", "255"), 2, 3)
    column = field.encode(MASKS)
    assert isinstance(column, Dense)
    assert column.values.dtype == torch.uint8
    assert column.values[0].tolist() == [[0, 0, 2], [1, 0, 0]]


def test_indices_are_decoded_to_the_values_of_the_files():
    field = fit(MASKS)
    values = field.pixels(field.encode(MASKS).take(torch.arange(2)))
    assert values.dtype == np.uint8
    assert (values == MASKS).all()


def test_a_value_that_training_lacks_is_named_with_its_file(tmp_path: Path):
    files = write(tmp_path, good=MASKS[0], odd=np.full((2, 3), 7))
    message = "odd.png has pixels of value 7, which no training mask has (known: 0, 128, 255)" + CURE
    assert problem(fit(MASKS).encode, Files(files.paths, tmp_path, decode_masks(files, None))) == message
    column = fit(MASKS).encode(files)
    assert isinstance(column, Lazy)
    assert column.take(torch.tensor([0])).shape == (1, 2, 3)
    assert problem(column.take, torch.tensor([0, 1])) == message


def test_a_value_that_training_lacks_is_named_with_its_number():
    odd = np.concatenate([MASKS, np.full((1, 2, 3), 255, np.uint8), np.full((1, 2, 3), 1, np.uint8)])
    message = "mask 4 has pixels of value 1, which no training mask has (known: 0, 128, 255)" + CURE
    assert problem(fit(MASKS).encode, odd) == message


def test_masks_of_one_value_are_reported():
    blank = np.full((3, 2, 2), 9, np.uint8)
    assert problem(fit, blank) == "every pixel of the training masks is 9: there is nothing to distinguish"


def test_the_maximum_number_of_classes_is_accepted():
    assert len(fit(np.arange(MAX_CLASSES, dtype=np.uint8).reshape(1, 8, 8)).values) == MAX_CLASSES


def test_shades_are_not_accepted_as_classes():
    message = problem(fit, np.arange(65, dtype=np.uint8).reshape(1, 5, 13))
    assert message.startswith("the masks have 65 different values; a mask holds one class value a pixel, at most 64")
    assert "jpeg" in message


def test_all_values_of_a_byte_can_be_classes():
    masks = np.array([[[254, 255], [0, 1]]], np.uint8)
    assert fit(masks).encode(masks).take(torch.tensor([0])).tolist() == [[[2, 3], [0, 1]]]


def test_files_are_resized_without_new_values(tmp_path: Path):
    files = write(tmp_path, one=np.kron(MASKS[0], np.ones((5, 5))))
    column = fit(np.array([[[0, 128, 255]] * 7], np.uint8)).encode(files)
    assert column.take(torch.tensor([0])).shape == (1, 7, 3)
    assert set(column.take(torch.tensor([0])).unique().tolist()) <= {0, 1, 2}
