import gzip
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from stoker.datasets.loading import load_dataset, read_source
from stoker.datasets.records import Records
from stoker.errors import JobError
from stoker.job.dataset import Dataset
from stoker.job.task import TASKS


def idx(values: np.ndarray) -> bytes:
    sizes = b"".join(size.to_bytes(4, "big") for size in values.shape)
    return bytes([0, 0, 8, values.ndim]) + sizes + values.astype(np.uint8).tobytes()


def write(folder: Path, prefix: str = "", count: int = 4, side: int = 3) -> np.ndarray:
    pixels = np.arange(count * side * side).reshape(count, side, side)
    (folder / f"{prefix}images-idx3-ubyte").write_bytes(idx(pixels))
    (folder / f"{prefix}labels-idx1-ubyte").write_bytes(idx(np.arange(count) % 2))
    return pixels


def read(path: Path, **settings: object) -> Records:
    records, format_name = read_source(Dataset.model_validate({"source": str(path), **settings}))
    assert format_name == "idx"
    return records


def pixels_of(records: Records) -> np.ndarray:
    pixels = records.columns["image"]
    assert isinstance(pixels, np.ndarray)
    return pixels


def labels_of(records: Records) -> list[object]:
    assert records.label == "label"
    labels = records.columns["label"]
    assert isinstance(labels, pd.Series)
    return labels.tolist()


def problem(path: Path) -> str:
    with pytest.raises(JobError) as caught:
        read(path)
    (found,) = caught.value.problems
    assert found.path == "dataset.source"
    return found.message


def test_images_and_labels_are_read(tmp_path: Path):
    pixels = write(tmp_path)
    for path in (tmp_path, tmp_path / "images-idx3-ubyte"):
        records = read(path)
        assert (pixels_of(records)[..., 0] == pixels).all()
        assert labels_of(records) == ["0", "1", "0", "1"]
        assert records.parts is None
        assert not records.is_table
    assert records.names[2] == "images-idx3-ubyte[2]"


def test_compressed_files_are_read(tmp_path: Path):
    pixels = write(tmp_path)
    for file in list(tmp_path.iterdir()):
        file.with_name(f"{file.name}.gz").write_bytes(gzip.compress(file.read_bytes()))
        file.unlink()
    assert (pixels_of(read(tmp_path))[..., 0] == pixels).all()


def test_names_of_files_contain_the_parts(tmp_path: Path):
    write(tmp_path, "train-", 4)
    write(tmp_path, "t10k-", 2)
    parts = read(tmp_path).parts
    assert parts is not None
    assert sorted(parts.tolist()) == ["test"] * 2 + ["train"] * 4


def test_images_are_resized_if_the_job_sets_a_size(tmp_path: Path):
    write(tmp_path)
    assert pixels_of(read(tmp_path, image={"size": [6, 5]})).shape == (4, 6, 5, 1)


def test_a_truncated_file_is_reported(tmp_path: Path):
    write(tmp_path)
    file = tmp_path / "images-idx3-ubyte"
    file.write_bytes(file.read_bytes()[:-5])
    expected = f"cannot read '{tmp_path}': 'images-idx3-ubyte' is truncated: 36 values declared, 31 found"
    assert problem(tmp_path) == expected
    file.write_bytes(file.read_bytes()[:9])
    assert "is truncated" in problem(tmp_path)


def test_labels_missing_for_some_images_are_reported(tmp_path: Path):
    write(tmp_path, "train-")
    write(tmp_path, "t10k-")
    (tmp_path / "t10k-labels-idx1-ubyte").unlink()
    assert (
        problem(tmp_path) == f"cannot read '{tmp_path}': the labels 't10k-labels-idx1-ubyte' are missing in its folder"
    )


def test_images_without_labels_are_data_for_tasks_without_labels(tmp_path: Path):
    write(tmp_path)
    (tmp_path / "labels-idx1-ubyte").unlink()
    records = read(tmp_path)
    assert (set(records.columns), records.label) == ({"image"}, "")
    dataset = Dataset(source=str(tmp_path))
    assert len(load_dataset(dataset, TASKS["image-generation"]).parts["train"]) == 3
    with pytest.raises(JobError) as caught:
        load_dataset(dataset, TASKS["image-classification"])
    assert caught.value.problems[0].path == "dataset.columns.label"
    assert caught.value.problems[0].message.startswith("required: ")


def test_too_few_labels_are_reported(tmp_path: Path):
    write(tmp_path)
    (tmp_path / "labels-idx1-ubyte").write_bytes(idx(np.arange(3)))
    assert problem(tmp_path) == f"cannot read '{tmp_path}': 4 images, but 3 labels in 'labels-idx1-ubyte'"


def test_labels_are_not_read_as_images(tmp_path: Path):
    write(tmp_path)
    path = tmp_path / "labels-idx1-ubyte"
    expected = f"cannot read '{path}': 'labels-idx1-ubyte' has 1 dimensions; grey images have 3, labels 1"
    assert problem(path) == expected


@pytest.mark.parametrize("content", [b"", b"PNG", b"\0\0\x0d\x03" + bytes(12)])
def test_other_content_is_reported(tmp_path: Path, content: bytes):
    write(tmp_path)
    (tmp_path / "images-idx3-ubyte").write_bytes(content)
    assert problem(tmp_path) == f"cannot read '{tmp_path}': 'images-idx3-ubyte' is not an IDX file of bytes"


@pytest.mark.parametrize("damage", [lambda data: data[:-9], lambda data: data[:12] + b"\xff" * 20, lambda _: b"plain"])
def test_a_broken_gzip_file_is_reported(tmp_path: Path, damage):
    write(tmp_path)
    (tmp_path / "labels-idx1-ubyte").unlink()
    (tmp_path / "labels-idx1-ubyte.gz").write_bytes(b"")
    images = tmp_path / "images-idx3-ubyte"
    (tmp_path / "images-idx3-ubyte.gz").write_bytes(damage(gzip.compress(images.read_bytes())))
    images.unlink()
    assert problem(tmp_path).startswith(f"cannot read '{tmp_path}': ")


def test_mnist_is_read(public_data):
    records = read(public_data("mnist-10k"))
    assert pixels_of(records).shape == (10_000, 28, 28, 1)
    assert labels_of(records)[:3] == ["7", "2", "1"]
