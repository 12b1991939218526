import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from stoker.datasets.dataset import LoadedDataset
from stoker.datasets.loading import load_dataset, read_source
from stoker.datasets.records import Records
from stoker.errors import JobError
from stoker.job.dataset import Dataset
from stoker.job.signature import ImageInput, MaskOutput
from stoker.job.task import TASKS, TaskName

RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (20, 4, 5), np.uint8)
LABELS = np.array(["a", "b"] * 10)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data.npz"


def read(path: Path, **settings: object) -> Records:
    records, found = read_source(Dataset.model_validate({"source": str(path), **settings}))
    assert found == "npz"
    return records


def load(path: Path, task: TaskName, **settings: object) -> LoadedDataset:
    return load_dataset(Dataset.model_validate({"source": str(path), **settings}), TASKS[task])


def problem(call: Any, *arguments: Any, **settings: Any) -> tuple[str, str]:
    with pytest.raises(JobError) as caught:
        call(*arguments, **settings)
    (found,) = caught.value.problems
    return found.path, found.message


def values(records: Records, name: str) -> list[object]:
    column = records.columns[name]
    assert isinstance(column, pd.Series)
    return column.tolist()


def pixels(records: Records, name: str) -> np.ndarray:
    column = records.columns[name]
    assert isinstance(column, np.ndarray)
    return column


def test_each_array_is_a_column(path: Path):
    np.savez(path, image=IMAGES, age=np.arange(20), label=LABELS)
    records = read(path)
    assert (pixels(records, "image")[..., 0] == IMAGES).all()
    assert values(records, "age") == list(range(20))
    assert values(records, "label") == LABELS.tolist()
    assert (records.label, records.parts) == ("label", None)


def test_compressed_arrays_are_read(path: Path):
    np.savez_compressed(path, image=IMAGES, y=LABELS)
    assert (pixels(read(path), "image")[..., 0] == IMAGES).all()


@pytest.mark.parametrize("name", ["label", "labels", "y", "target"])
def test_the_label_is_recognised_by_its_name(path: Path, name: str):
    np.savez(path, image=IMAGES, **{name: LABELS})
    assert read(path).label == name


def test_the_job_may_name_the_label(path: Path):
    np.savez(path, image=IMAGES, label=LABELS, kind=LABELS[::-1])
    assert read(path, columns={"label": "kind"}).label == "kind"


def test_a_matrix_becomes_one_number_column_per_column(path: Path):
    matrix = RNG.normal(size=(20, 3))
    np.savez(path, x=matrix, y=LABELS)
    records = read(path)
    assert list(records.columns) == ["x0", "x1", "x2", "y"]
    assert values(records, "x2") == matrix[:, 2].tolist()
    assert load(path, "tabular-classification").fields.signature.numbers == 3


def test_names_of_arrays_contain_the_parts(path: Path):
    np.savez(path, x_train=IMAGES[:12], y_train=LABELS[:12], x_test=IMAGES[12:], y_test=LABELS[12:])
    records = read(path)
    assert records.parts is not None
    assert records.parts.tolist() == ["train"] * 12 + ["test"] * 8
    assert (pixels(records, "x")[..., 0] == IMAGES).all()
    assert values(records, "y") == LABELS.tolist()
    data = load(path, "image-classification", split={"train": 0.5, "val": 0.5, "test": 0})
    assert {name: len(part) for name, part in data.parts.items()} == {"train": 6, "val": 6, "test": 8}
    assert sorted(data.parts["test"].ids.tolist()) == list(range(12, 20))
    assert set(data.fields.signature.images) == {"x"}


def test_a_part_without_its_labels_is_reported(path: Path):
    np.savez(path, x_train=IMAGES, y_train=LABELS, x_test=IMAGES)
    assert problem(read, path) == ("dataset.source", f"cannot read '{path}': not every array has the parts train, test")


def test_images_are_resized_if_the_job_sets_a_size(path: Path):
    np.savez(path, image=IMAGES, label=LABELS)
    assert pixels(read(path, image={"size": [6, 7]}), "image").shape == (20, 6, 7, 1)


def test_images_with_masks_are_segmented(path: Path):
    np.savez(path, image=np.repeat(IMAGES[..., None], 3, 3), mask=(IMAGES > 99).astype(np.uint8))
    data = load(path, "segmentation")
    assert data.fields.signature.output == MaskOutput(("0", "1"), 4, 5)
    target = data.parts["train"].target
    assert target is not None
    ids = data.parts["train"].ids.numpy()
    assert (target.take(torch.arange(len(ids))).numpy() == (IMAGES[ids] > 99)).all()


def test_masks_are_resized_with_their_images(path: Path):
    np.savez(path, image=IMAGES, mask=(IMAGES > 99).astype(np.uint8)[..., None] * 9)
    data = load(path, "segmentation", image={"size": [8, 10]})
    assert data.fields.signature.output == MaskOutput(("0", "9"), 8, 10)
    assert data.fields.signature.inputs == {"image": ImageInput(1, 8, 10)}


def test_masks_of_another_size_than_their_images_are_reported(path: Path):
    np.savez(path, image=IMAGES, mask=(IMAGES > 99).astype(np.uint8)[:, :3])
    expected = ("dataset.source", "the masks are 3x5, the images of column 'image' 4x5")
    assert problem(load, path, "segmentation") == expected


def test_a_mask_with_channels_is_reported(path: Path):
    np.savez(path, image=IMAGES, mask=np.zeros((20, 4, 5, 3), np.uint8))
    expected = "array 'mask' has 3 channels; a mask holds one class value a pixel"
    assert problem(read, path) == ("dataset.source", expected)


def test_numbers_and_images_make_one_sample(path: Path):
    np.savez(path, image=IMAGES, age=RNG.normal(size=20), label=LABELS)
    data = load(path, "tabular-classification")
    assert set(data.fields.signature.inputs) == {"numbers", "image"}
    assert isinstance(data.example, pd.DataFrame)
    again = data.fields.inputs[1].encode(data.example["image"])
    assert (again.take(torch.arange(3)).numpy()[..., 0] == IMAGES[:3]).all()


@pytest.mark.parametrize("key", ["label", "weight", "group"])
def test_a_column_of_images_cannot_be_a_label_or_weight(path: Path, key: str):
    np.savez(path, image=IMAGES, other=IMAGES, y=LABELS)
    expected = (f"dataset.columns.{key}", "column 'other' holds images, not one value for each sample")
    assert problem(load, path, "image-classification", columns={"label": "y", key: "other"}) == expected


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"image": IMAGES, "label": LABELS[:3]}, "its arrays differ in length: image 20, label 3"),
        ({"image": IMAGES, "label": np.array("a")}, "'label' in it is not an array with an entry for each sample"),
        ({"image": np.array([{}] * 20)}, "Object arrays cannot be loaded when allow_pickle=False"),
    ],
)
def test_arrays_that_are_no_samples_are_reported(path: Path, arrays: dict[str, Any], message: str):
    np.savez(path, **arrays)
    assert problem(read, path) == ("dataset.source", f"cannot read '{path}': {message}")


@pytest.mark.parametrize(
    ("array", "shown"),
    [
        (IMAGES.astype(np.float32), "20x4x5 of float32"),
        (np.zeros((2, 2, 2, 2, 2), np.uint8), "2x2x2x2x2 of uint8"),
        (np.zeros((2, 0, 3), np.uint8), "2x0x3 of uint8"),
    ],
)
def test_an_array_that_is_neither_images_nor_numbers_is_reported(path: Path, array: np.ndarray, shown: str):
    np.savez(path, image=array)
    expected = f"array 'image' is {shown}; images are uint8 (N, height, width[, channels])"
    assert problem(read, path) == ("dataset.source", expected)


def test_a_single_array_is_no_archive(path: Path):
    with path.open("wb") as file:
        np.save(file, IMAGES)
    assert problem(read, path)[1].startswith(f"cannot read '{path}': not an npz archive (")


def test_an_archive_of_other_files_is_reported(path: Path):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("readme.txt", "no array")
    assert problem(read, path) == (
        "dataset.source", f"cannot read '{path}': 'readme.txt' in it is not an array with an entry for each sample"
    )  # fmt: skip
