from pathlib import Path

import pandas as pd
import pytest
from PIL import Image

from stoker.datasets.dataset import LoadedDataset
from stoker.datasets.loading import load_dataset, read_source
from stoker.datasets.records import Files, Records
from stoker.errors import JobError
from stoker.job.dataset import Dataset
from stoker.job.signature import ImageInput
from stoker.job.task import TASKS


def draw(path: Path, colour: object = 100, mode: str = "L", size: tuple[int, int] = (4, 4)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, size, colour).save(path)  # type: ignore[arg-type]  # an int or a tuple
    return path


def read(path: Path, **settings: object) -> Records:
    records, _ = read_source(Dataset.model_validate({"source": str(path), **settings}))
    assert isinstance(records.columns["image"], Files)
    return records


def labels_of(records: Records) -> list[object]:
    labels = records.columns[records.label]
    assert isinstance(labels, pd.Series)
    return labels.tolist()


def load(path: Path, **settings: object) -> LoadedDataset:
    return load_dataset(Dataset.model_validate({"source": str(path), **settings}), TASKS["image-classification"])


def problem(path: Path, **settings: object) -> tuple[str, str]:
    with pytest.raises(JobError) as caught:
        load(path, **settings)
    (found,) = caught.value.problems
    return found.path, found.message


def test_the_folder_of_an_image_is_its_class(tmp_path: Path):
    draw(tmp_path / "cats" / "1.png", 10)
    draw(tmp_path / "cats" / "deep" / "2.png", 20)
    draw(tmp_path / "dogs" / "1.PNG", 30)
    records = read(tmp_path)
    assert labels_of(records) == ["cats", "cats", "dogs"]
    assert records.names == ("cats/1.png", "cats/deep/2.png", "dogs/1.PNG")
    assert records.parts is None
    data = load_dataset(
        Dataset.model_validate({"source": str(tmp_path), "split": "none"}), TASKS["image-classification"]
    )
    images = data.parts["train"].inputs["image"].take(data.parts["train"].ids)
    assert images.shape == (3, 4, 4, 1)
    assert images[:, 0, 0, 0].tolist() == [10, 20, 30]


def test_folders_of_parts_are_recognised(tmp_path: Path):
    for part in ("train", "valid", "test"):
        draw(tmp_path / part / "cats" / "1.png")
        draw(tmp_path / part / "dogs" / "1.png")
    records = read(tmp_path)
    assert labels_of(records) == ["cats", "dogs"] * 3
    assert records.parts is not None
    assert records.parts.tolist() == ["test", "test", "train", "train", "val", "val"]


def test_hidden_files_and_folders_are_skipped(tmp_path: Path):
    draw(tmp_path / "cats" / "1.png")
    draw(tmp_path / "dogs" / "1.png")
    draw(tmp_path / ".thumbnails" / "1.png")
    draw(tmp_path / "cats" / ".ipynb_checkpoints" / "1-checkpoint.png")
    (tmp_path / "cats" / "._1.png").write_bytes(b"no image")
    (tmp_path / "cats" / "notes.txt").write_text("no image")
    assert len(read(tmp_path)) == 2


def test_images_below_a_hidden_folder_are_read(tmp_path: Path):
    draw(tmp_path / ".cache" / "pets" / "cats" / "1.png")
    draw(tmp_path / ".cache" / "pets" / "dogs" / "1.png")
    assert len(read(tmp_path / ".cache" / "pets")) == 2


def test_images_that_do_not_decode_are_named(tmp_path: Path):
    draw(tmp_path / "a" / "1.png")
    draw(tmp_path / "b" / "1.png")
    (tmp_path / "a" / "2.png").write_bytes(b"no image")
    expected = "cannot read a/2.png (not an image); repair or remove it"
    assert problem(tmp_path) == ("dataset.source", expected)
    for number in range(3, 7):
        (tmp_path / "a" / f"{number}.png").write_bytes(b"no image")
    _, message = problem(tmp_path)
    shown = ", ".join(f"a/{number}.png (not an image)" for number in (2, 3, 4))
    assert message == f"cannot read {shown} and 2 more; repair or remove them"


@pytest.mark.parametrize("loading", ["resident", "loaded"])
def test_images_of_different_sizes_get_one_size(tmp_path: Path, loading: str):
    for number in range(30):
        draw(tmp_path / "ab"[number % 2] / f"{number}.png", size=(70, 60) if number else (20, 20))
    loaded = load(tmp_path, loading=loading)
    assert loaded.spec.image.size == (48, 48)
    assert loaded.fields.signature.image == ImageInput(1, 48, 48)
    found = "the images differ in size, from 20x20 to 60x70 (height x width): resized to 48x48"
    assert f"{found}; dataset.image.size sets another size" in loaded.notes
    assert load(tmp_path, loading=loading, image={"size": [9, 8]}).fields.signature.image == ImageInput(1, 9, 8)


PHOTOS, SIGNS = ("flip", "crop", "jitter", "erase"), ("crop", "rotate")


@pytest.mark.parametrize(
    ("mode", "side", "classes", "image", "expected"),
    [
        ("RGB", 32, ("cat", "dog"), {}, PHOTOS),
        ("RGB", 32, ("cat", "dog"), {"augment": ["jitter"]}, ("jitter",)),
        ("RGB", 32, ("cat", "dog"), {"augment": []}, ()),
        ("RGB", 31, ("cat", "dog"), {}, SIGNS),
        ("L", 64, ("cat", "dog"), {}, SIGNS),
        ("RGB", 64, ("0", "1"), {}, SIGNS),
        ("RGB", 64, ("a", "b"), {}, SIGNS),
        ("RGB", 64, ("stop", "turn_left"), {}, SIGNS),
        ("RGB", 64, ("bright", "dark"), {}, PHOTOS),
        ("RGB", 15, ("0", "1"), {}, ()),
    ],
)
def test_images_are_augmented_as_their_kind_bears_it(
    tmp_path: Path, mode: str, side: int, classes: tuple[str, str], image: dict[str, object], expected: tuple[str, ...]
):
    for number in range(20):
        colour = (200, 10, 5 * number) if mode == "RGB" else 5 * number
        draw(tmp_path / classes[number % 2] / f"{number}.png", colour, mode, (side, side))
    loaded = load(tmp_path, image=image)
    assert loaded.spec.image.augment == expected
    chosen = f"training images are changed at random ({', '.join(expected)}), since they are taken for "
    assert any(note.startswith(chosen) for note in loaded.notes) == (not image and bool(expected))


def test_a_folder_without_images_is_reported(tmp_path: Path):
    (tmp_path / "a").mkdir()
    expected = f"no images in '{tmp_path}', nor in folders for classes there"
    assert problem(tmp_path, format="image-folder") == ("dataset.source", expected)


def test_images_without_classes_are_found_in_the_folder_itself_or_in_its_parts(tmp_path: Path):
    for number in range(10):
        draw(tmp_path / "all" / f"{number}.png", 10 * number)
        draw(tmp_path / "parts" / ("train" if number < 8 else "test") / f"{number}.png", 10 * number)
    records = read(tmp_path / "all")
    assert (records.label, list(records.columns), records.parts) == ("", ["image"], None)
    assert read(tmp_path / "parts").parts.tolist() == ["test"] * 2 + ["train"] * 8
    dataset = Dataset(source=str(tmp_path / "all"))
    data = load_dataset(dataset, TASKS["anomaly-detection"])
    assert (data.fields.target, {name: len(part) for name, part in data.parts.items()}) == (
        None,
        {"train": 8, "val": 1, "test": 1},
    )
    assert problem(tmp_path / "all")[0] == "dataset.columns.label"
