from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from stoker.datasets.dataset import LoadedDataset
from stoker.datasets.loading import load_dataset, read_source
from stoker.datasets.records import Files, Records
from stoker.errors import JobError
from stoker.job.dataset import Dataset
from stoker.job.signature import MaskOutput
from stoker.job.task import TASKS

REMAKE = "; make the mask again, in the size of its image"
CURE = "; correct it, move it to the training part, or set dataset.mask.ignore"


def draw(path: Path, mask: np.ndarray | None = None, size: tuple[int, int] = (4, 5)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.full(size, 100, np.uint8) if mask is None else mask.astype(np.uint8)
    Image.fromarray(pixels).save(path)


def corner(value: int = 255, size: tuple[int, int] = (4, 5)) -> np.ndarray:
    mask = np.zeros(size, np.uint8)
    mask[0, 0] = value
    return mask


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Ten images of one size with masks of two classes."""
    for number in range(10):
        draw(tmp_path / "images" / f"{number}.png")
        draw(tmp_path / "masks" / f"{number}.png", corner())
    return tmp_path


def read(path: Path) -> Records:
    records, found = read_source(Dataset.model_validate({"source": str(path)}))
    assert found == "image-mask"
    return records


def load(path: Path, **settings: object) -> LoadedDataset:
    dataset = Dataset.model_validate({"source": str(path), "format": "image-mask", **settings})
    return load_dataset(dataset, TASKS["segmentation"])


def problem(path: Path, **settings: object) -> tuple[str, str]:
    with pytest.raises(JobError) as caught:
        load(path, **settings)
    (found,) = caught.value.problems
    return found.path, found.message


def names(records: Records, column: str) -> tuple[str, ...]:
    files = records.columns[column]
    assert isinstance(files, Files)
    return files.names()


def test_a_mask_belongs_to_the_image_of_its_name(tmp_path: Path):
    for name, suffix in (("b", "png"), ("a.1", "jpg")):
        draw(tmp_path / "images" / f"{name}.{suffix}")
        draw(tmp_path / "masks" / f"{name}.png", corner())
    records = read(tmp_path)
    assert names(records, "image") == records.names == ("images/a.1.jpg", "images/b.png")
    assert names(records, "mask") == ("masks/a.1.png", "masks/b.png")
    assert records.label == "mask"
    assert records.parts is None


def test_images_of_one_name_in_several_folders_have_their_own_masks(tmp_path: Path):
    for number, city in enumerate(("bonn", "ulm")):
        draw(tmp_path / "images" / city / "1.png")
        draw(tmp_path / "masks" / city / "1.png", corner(number + 1))
    assert names(read(tmp_path), "mask") == ("masks/bonn/1.png", "masks/ulm/1.png")


def test_folders_of_parts_are_recognised(folder: Path, tmp_path_factory: pytest.TempPathFactory):
    whole = tmp_path_factory.mktemp("parts")
    for part in ("train", "valid"):
        (whole / part).mkdir()
        for name in ("images", "masks"):
            (whole / part / name).symlink_to(folder / name)
    records = read(whole)
    assert records.parts is not None
    assert records.parts.tolist() == ["train"] * 10 + ["val"] * 10


def test_masks_become_the_targets_of_their_images(folder: Path):
    data = load(folder)
    assert data.fields.signature.output == MaskOutput(("0", "255"), 4, 5)
    for part in data.parts.values():
        assert part.target is not None
        places = torch.arange(len(part))
        assert torch.equal(part.target.take(places), torch.from_numpy(corner(1)).expand(len(part), 4, 5))
        assert part.inputs["image"].take(places).shape == (len(part), 4, 5, 1)
    assert data.counts["train"] == {"": len(data.parts["train"])}
    assert data.name_of(3) == "images/3.png"


def test_images_and_masks_are_resized_together(folder: Path):
    data = load(folder, image={"size": [8, 6]})
    train = data.parts["train"]
    assert train.target is not None
    assert train.target.take(torch.tensor([0])).shape == (1, 8, 6)
    assert train.inputs["image"].take(torch.tensor([0])).shape == (1, 8, 6, 1)


@pytest.mark.parametrize("loading", ["resident", "loaded"])
def test_masks_are_the_same_however_they_are_loaded(folder: Path, loading: str):
    data = load(folder, loading=loading)
    assert data.spec.loading == loading
    assert data.parts["train"].target is not None
    assert data.parts["train"].target.take(torch.tensor([1])).tolist() == [corner(1).tolist()]


def test_an_image_without_a_mask_is_reported(folder: Path):
    for number in range(5):
        (folder / "masks" / f"{number}.png").unlink()
    shown = "images/0.png, images/1.png, images/2.png and 2 more"
    expected = f"no mask in '{folder / 'masks'}' for {shown}; a mask has the name of its image"
    assert problem(folder) == ("dataset.source", expected)


def test_a_mask_of_another_size_is_reported(folder: Path):
    draw(folder / "masks" / "3.png", corner(size=(5, 4)))
    expected = ("dataset.source", "masks/3.png is 5x4, its image images/3.png is 4x5" + REMAKE)
    assert problem(folder) == expected
    assert problem(folder, image={"size": 8}) == expected


@pytest.mark.parametrize("loading", ["resident", "loaded"])
def test_a_class_only_outside_of_training_is_named_with_its_file(folder: Path, loading: str):
    data = load(folder)
    odd = int(data.parts["test"].ids[0])
    draw(folder / "masks" / f"{odd}.png", corner(7))
    expected = f"masks/{odd}.png has pixels of value 7, which no training mask has (known: 0, 255)" + CURE
    if loading == "resident":
        assert problem(folder) == ("dataset.source", expected)
        return
    target = load(folder, loading=loading).parts["test"].target
    assert target is not None
    with pytest.raises(JobError) as caught:
        target.take(torch.arange(len(target)))
    assert caught.value.problems[0].message == expected


def test_masks_of_one_value_are_reported(folder: Path):
    for number in range(10):
        draw(folder / "masks" / f"{number}.png", np.zeros((4, 5)))
    assert problem(folder)[1] == "every pixel of the training masks is 0: there is nothing to distinguish"


@pytest.mark.parametrize("name", ["images", "masks"])
def test_a_broken_file_is_named(folder: Path, name: str):
    (folder / name / "4.png").write_bytes(b"")
    assert problem(folder) == ("dataset.source", f"cannot read {name}/4.png (an empty file); repair or remove it")


def test_a_folder_without_images_is_reported(tmp_path: Path):
    (tmp_path / "images").mkdir()
    (tmp_path / "masks").mkdir()
    assert problem(tmp_path) == ("dataset.source", f"no images in '{tmp_path / 'images'}'")


def test_a_mask_without_an_image_is_named(folder: Path):
    draw(folder / "masks" / "alone.png", corner())
    path, message = problem(folder)
    assert path == "dataset.source"
    assert message == f"no image in '{folder / 'images'}' for masks/alone.png; add it, or remove the mask"
