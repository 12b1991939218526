from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from stoker.datasets.columns import Column, Dense, Lazy
from stoker.datasets.dataset import LoadedDataset
from stoker.datasets.fields.image import ImageField
from stoker.datasets.fields.schema import Fields
from stoker.datasets.loading import load_dataset, read_source
from stoker.datasets.records import table
from stoker.errors import JobError
from stoker.job.builtin import BUILTIN
from stoker.job.dataset import Dataset
from stoker.job.formats import FORMATS
from stoker.job.signature import ValueOutput
from stoker.job.task import TASKS, TaskName

CLASSES: TaskName = "tabular-classification"
NUMBERS: TaskName = "tabular-regression"


@pytest.fixture
def frame() -> pd.DataFrame:
    rng = np.random.default_rng(0)
    return pd.DataFrame(
        {
            "x": rng.normal(size=60),
            "colour": rng.choice(["red", "green", "blue"], 60),
            "w": rng.integers(0, 3, 60),
            "house": np.repeat(np.arange(20), 3),
            "price": rng.normal(100, 9, size=60),
            "y": ["a", "b", "c"] * 20,
        }
    )


@pytest.fixture
def load(tmp_path: Path):
    """Load a frame as a csv file named train.csv."""

    def loaded(frame: pd.DataFrame, task: TaskName = CLASSES, label: str = "y", **settings: Any) -> LoadedDataset:
        frame.to_csv(tmp_path / "train.csv", index=False)
        columns = {"label": label, **settings.pop("columns", {})}
        source = {"source": str(tmp_path / "train.csv"), "columns": columns, **settings}
        return load_dataset(Dataset.model_validate(source), TASKS[task])

    return loaded


def values(column: Column | None) -> torch.Tensor:
    assert column is not None
    return column.take(torch.arange(len(column)))


def problems(call, *arguments: Any, **settings: Any) -> list[tuple[str, str]]:
    with pytest.raises(JobError) as caught:
        call(*arguments, **settings)
    return [(problem.path, problem.message) for problem in caught.value.problems]


def test_every_sample_is_in_one_part(load, frame: pd.DataFrame):
    data = load(frame)
    ids = torch.cat([part.ids for part in data.parts.values()])
    assert sorted(ids.tolist()) == list(range(60))
    assert data.counts == {
        "train": {"a": 16, "b": 16, "c": 16},
        "val": {"a": 2, "b": 2, "c": 2},
        "test": {"a": 2, "b": 2, "c": 2},
    }


def test_targets_are_the_labels_of_their_rows(load, frame: pd.DataFrame):
    for part in load(frame).parts.values():
        assert values(part.target).tolist() == [number % 3 for number in part.ids.tolist()]


def test_inferred_values_are_written_out_and_reproduce_the_dataset(load, frame: pd.DataFrame):
    data = load(frame, columns={"drop": ("house",), "weight": "w"})
    assert data.spec.format == "csv"
    assert data.spec.columns.features == ("x", "price", "colour")
    assert data.spec.columns.types == {"x": "number", "price": "number", "colour": "category"}
    again = load_dataset(data.spec, TASKS[CLASSES])
    assert again.spec == data.spec
    assert again.fields == data.fields
    assert again.fingerprint == data.fingerprint


def test_fields_are_fitted_on_training_rows_alone(load, frame: pd.DataFrame):
    data = load(frame)
    changed = frame.copy()
    for part in ("val", "test"):
        rows = data.parts[part].ids.numpy()
        changed.loc[rows, "x"] = 1e6
        changed.loc[rows, "colour"] = "violet"
    after = load(changed)
    assert after.fields == data.fields
    assert after.fingerprint != data.fingerprint
    for name, column in data.parts["train"].inputs.items():
        assert torch.equal(values(after.parts["train"].inputs[name]), values(column))


def test_the_scale_of_a_number_is_fitted_on_training_rows_alone(load, frame: pd.DataFrame):
    data = load(frame, NUMBERS, "price")
    train = frame["price"].to_numpy()[data.parts["train"].ids.numpy()]
    assert data.fields.signature.output == ValueOutput("price", pytest.approx(train.mean()), pytest.approx(train.std()))


def test_weights_stay_with_their_rows(load, frame: pd.DataFrame):
    for part in load(frame, columns={"weight": "w"}).parts.values():
        assert part.weight is not None
        assert part.weight.tolist() == frame["w"].to_numpy()[part.ids.numpy()].tolist()


def test_groups_stay_together(load, frame: pd.DataFrame):
    data = load(frame, columns={"group": "house"})
    houses = [set(frame["house"].to_numpy()[part.ids.numpy()]) for part in data.parts.values()]
    assert len(houses) == 3
    assert sum(map(len, houses)) == 20


def test_no_split_trains_on_everything(load, frame: pd.DataFrame):
    assert {name: len(part) for name, part in load(frame, split="none").parts.items()} == {"train": 60}


@pytest.mark.parametrize("split", [{"column": "part"}, {"time": "date", "train": 0.5, "val": 0.25, "test": 0.25}])
def test_the_column_of_a_split_is_not_an_input(load, frame: pd.DataFrame, split: dict[str, Any]):
    dates = pd.date_range("2024-01-01", periods=20).repeat(3)[::-1].astype(str)
    frame = frame.assign(part=["train"] * 30 + ["dev"] * 15 + ["test"] * 15, date=dates)
    name = next(iter(split.values()))
    data = load(frame[[*"xwy", name]], split=split)
    assert {name: len(part) for name, part in data.parts.items()} == {"train": 30, "val": 15, "test": 15}
    first = {"part": 0, "date": 30}[name]
    assert data.parts["train"].ids.tolist() == list(range(first, first + 30))
    assert data.spec.columns.features == ("x", "w")
    again = load_dataset(data.spec, TASKS[CLASSES])
    assert again.spec == data.spec
    assert again.parts["val"].ids.tolist() == data.parts["val"].ids.tolist()


def test_the_column_of_a_split_takes_precedence_over_file_names(frame: pd.DataFrame, tmp_path: Path):
    frame["part"] = ["val"] * 6 + ["train"] * 54
    frame.head(30).to_csv(tmp_path / "train.csv", index=False)
    frame.tail(30).to_csv(tmp_path / "test.csv", index=False)
    source = {"source": str(tmp_path), "columns": {"label": "y"}, "split": {"column": "part"}}
    data = load_dataset(Dataset.model_validate(source), TASKS[CLASSES])
    assert {name: len(part) for name, part in data.parts.items()} == {"train": 54, "val": 6}
    assert "the source has its own train and test; dataset.split.column decides instead" in data.notes


def test_the_example_has_no_label(load, frame: pd.DataFrame):
    assert list(load(frame).example.columns) == ["x", "w", "house", "price", "colour"]


@pytest.mark.parametrize("name", BUILTIN)
def test_a_built_in_dataset_is_complete(name: str):
    data = load_dataset(Dataset(source=name), TASKS[BUILTIN[name].tasks[0]])
    samples = {
        "xor": 200,
        "iris": 150,
        "wine": 178,
        "breast-cancer": 569,
        "diabetes": 442,
        "sensors": 2000,
        "digits": 1797,
        "digit-pairs": 898,
        "shape-boxes": 400,
        "shapes": 2000,
        "instructions": 2000,
        "who-has-what": 1200,
        "keyword-documents": 600,
        "shapes-captions": 6000,
    }
    found = sum(map(len, data.parts.values()))
    assert found == samples[name] if name in samples else found > 10_000  # each Python has another library
    assert data.spec.format is None
    assert load_dataset(data.spec, TASKS[BUILTIN[name].tasks[0]]).spec == data.spec


def test_another_label_of_a_built_in_dataset(make_job):
    dataset = Dataset.model_validate({"source": "iris", "columns": {"label": "petal_width_cm"}})
    data = load_dataset(dataset, TASKS[NUMBERS])
    assert data.fields.signature.output == ValueOutput(
        "petal_width_cm", pytest.approx(1.2, abs=0.1), pytest.approx(0.76, abs=0.1)
    )
    assert data.spec.columns.features is not None
    assert "species" in data.spec.columns.features


def test_built_in_images_are_resized():
    dataset = Dataset.model_validate({"source": "digits", "image": {"size": 12}})
    data = load_dataset(dataset, TASKS["image-classification"])
    assert values(data.parts["test"].inputs["image"]).shape[1:] == (12, 12, 1)
    assert data.spec.image.size == (12, 12)


def test_real_tables_are_read(public_data):
    for name, label, task in [("penguins", "species", CLASSES), ("titanic", "Survived", CLASSES)]:
        path = public_data(f"{name}/{name}.csv")
        data = load_dataset(Dataset.model_validate({"source": str(path), "columns": {"label": label}}), TASKS[task])
        assert all(torch.isfinite(values(part.inputs["numbers"])).all() for part in data.parts.values())


# Errors in the data, with their messages.


def test_a_missing_label_column_is_reported(load, frame: pd.DataFrame):
    columns = "columns: x, colour, w, house, price, y"
    assert problems(load, frame, label="yy") == [("dataset.columns.label", f"no column 'yy' in train.csv ({columns})")]
    part = {"column": "parts"}
    assert problems(load, frame, split=part) == [
        ("dataset.split.column", f"no column 'parts' in train.csv ({columns})")
    ]
    named = {"features": ("x", "color"), "weight": "weight", "group": "houses", "types": {"z": "number"}}
    assert problems(load, frame, columns=named) == [
        ("dataset.columns.weight", f"no column 'weight' in train.csv ({columns})"),
        ("dataset.columns.group", f"no column 'houses' in train.csv ({columns}); did you mean 'house'?"),
        ("dataset.columns.features.1", f"no column 'color' in train.csv ({columns}); did you mean 'colour'?"),
        ("dataset.columns.types.z", f"no column 'z' in train.csv ({columns})"),
    ]
    assert problems(load, frame, label=None)[0][0] == "dataset.columns.label"


def test_an_unknown_column_of_a_built_in_dataset_is_reported():
    dataset = Dataset.model_validate({"source": "xor", "columns": {"features": ["x3"]}})
    assert problems(load_dataset, dataset, TASKS[CLASSES]) == [
        ("dataset.columns.features.0", "no column 'x3' in xor (columns: x1, x2, y)")
    ]


def test_no_rows_are_reported(load, frame: pd.DataFrame, tmp_path: Path):
    assert problems(load, frame.head(0)) == [("dataset.source", f"no rows in '{tmp_path / 'train.csv'}'")]


def test_one_class_is_reported(load, frame: pd.DataFrame):
    message = "only one class, 'a': there is nothing to distinguish"
    assert problems(load, frame.assign(y="a")) == [("dataset.columns.label", message)]


def test_a_missing_label_is_reported(load, frame: pd.DataFrame):
    frame.loc[[4, 9], "y"] = None
    message = "2 of 60 rows have no value in column 'y' (first: row 5); remove them"
    assert problems(load, frame) == [("dataset.columns.label", message)]


def test_a_label_that_is_no_number_is_reported(load, frame: pd.DataFrame):
    message = "'a' in column 'y', row 1, is not a finite number"
    assert problems(load, frame, NUMBERS) == [("dataset.columns.label", message)]


def test_a_negative_weight_is_reported(load, frame: pd.DataFrame):
    frame.loc[7, "w"] = -1
    message = "'-1' in column 'w', row 8, is not a weight of 0 or more"
    assert problems(load, frame, columns={"weight": "w"}) == [("dataset.columns.weight", message)]


def test_a_part_without_any_weight_is_reported(load, frame: pd.DataFrame):
    message = "all samples of the train part weigh 0 in column 'w'"
    assert problems(load, frame.assign(w=0), columns={"weight": "w"}) == [("dataset.columns.weight", message)]


def test_a_table_without_a_usable_column_is_reported(load, frame: pd.DataFrame):
    frame = frame[["y"]].assign(country="here", number=range(60))
    message = (
        "no column is left to predict from: column 'country' is left out: every row has the same value; "
        "column 'number' is left out: it numbers the rows"
    )
    assert problems(load, frame) == [("dataset.columns.features", message)]
    assert problems(load, frame[["y"]]) == [
        ("dataset.columns.features", "no column is left to predict from: there is only the label")
    ]


def test_a_class_only_outside_of_training_is_reported(load, tmp_path: Path):
    for part, names in {"train": "ab", "test": "abc"}.items():
        for name in names:
            folder = tmp_path / "images" / part / name
            folder.mkdir(parents=True)
            for number in range(3):
                Image.new("L", (4, 4), 50 * number).save(folder / f"{number}.png")
    dataset = Dataset.model_validate({"source": str(tmp_path / "images"), "split": {"val": 0}})
    message = "class 'c' is in test (3 samples) but not in train; a network cannot learn it; "
    message += "move some of them to train, or remove them"
    assert problems(load_dataset, dataset, TASKS["image-classification"]) == [("dataset.split", message)]


def test_groups_that_leave_nothing_to_learn_from_are_reported(load, frame: pd.DataFrame):
    split = {"train": 0.2, "val": 0.8, "test": 0}
    message = "no sample is left to learn from, of 60"
    assert problems(load, frame.assign(house=1), columns={"group": "house"}, split=split) == [
        ("dataset.split", message)
    ]


def test_a_source_with_an_ambiguous_name_is_reported(tmp_path: Path):
    path = tmp_path / "data.bin"
    path.write_text("x,y\n1,2\n")
    assert problems(read_source, Dataset(source=str(path))) == [
        (
            "dataset.source",
            f"the name 'data.bin' does not identify the format; set dataset.format to one of {', '.join(FORMATS)}",
        )
    ]
    assert problems(read_source, Dataset(source=str(tmp_path / "no.csv"))) == [
        ("dataset.source", f"no file or folder '{tmp_path / 'no.csv'}'")
    ]


def test_new_data_are_encoded_like_the_old(load, frame: pd.DataFrame):
    data = load(frame, columns={"weight": "w"})
    samples = data.fields.encode(table(frame, "y"), weight="w")
    train = data.parts["train"]
    again = samples.rows(train.ids)
    assert torch.equal(values(again.inputs["numbers"]), values(train.inputs["numbers"]))
    assert torch.equal(values(again.inputs["categories"]), values(train.inputs["categories"]))
    assert torch.equal(values(again.target), values(train.target))
    assert again.weight is not None
    assert train.weight is not None
    assert torch.equal(again.weight, train.weight)
    assert data.fields.encode(table(frame.drop(columns="w"), "y")).weight is None


def test_new_data_that_do_not_fit_are_reported(load, frame: pd.DataFrame):
    fields = load(frame[["x", "y"]]).fields
    assert problems(fields.check, table(frame[["colour"]], "y"), "y") == [
        ("", "the input lacks the columns y, x (it has: colour)")
    ]
    assert problems(fields.check, read_source(Dataset(source="digits"))[0]) == [
        ("", "the input lacks the columns x (it has: image, digit)")
    ]


# Texts and files.


def test_truncated_texts_are_noted(tmp_path: Path):
    texts = ["good words here", "bad"] * 20
    pd.DataFrame({"text": texts, "y": ["a", "b"] * 20}).to_csv(tmp_path / "train.csv", index=False)
    dataset = {"source": str(tmp_path / "train.csv"), "columns": {"label": "y"}, "text": {"length": 2}}
    data = load_dataset(Dataset.model_validate(dataset), TASKS["text-classification"])
    note = "column 'text': 16 of 32 training texts have more than 2 words and are cut off there (dataset.text.length)"
    assert note in data.notes


@pytest.fixture
def images(tmp_path: Path) -> Dataset:
    for number in range(20):
        folder = tmp_path / "images" / "ab"[number % 2]
        folder.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (6, 4), (10 * number, 5, 9)).save(folder / f"{number}.png")
    return Dataset(source=str(tmp_path / "images"))


def load_images(dataset: Dataset, **settings: Any) -> LoadedDataset:
    return load_dataset(dataset.model_copy(update=settings), TASKS["image-classification"])


def test_files_are_decoded_at_the_start_or_on_access(images: Dataset):
    resident, loaded = load_images(images, loading="resident"), load_images(images, loading="loaded")
    assert isinstance(resident.parts["train"].inputs["image"], Dense)
    assert isinstance(loaded.parts["train"].inputs["image"], Lazy)
    assert loaded.fields == resident.fields
    for name, part in resident.parts.items():
        other = loaded.parts[name]
        assert torch.equal(other.ids, part.ids)
        assert torch.equal(values(other.inputs["image"]), values(part.inputs["image"]))
        assert torch.equal(values(other.target), values(part.target))
    assert (resident.example == loaded.example).all()


def test_images_that_fit_in_memory_are_decoded_at_the_start(images: Dataset):
    data = load_images(images)
    assert data.spec.loading == "resident"
    assert load_dataset(data.spec, TASKS["image-classification"]).spec == data.spec


def test_mean_and_deviation_are_of_the_training_images_alone(images: Dataset):
    for loading in ("resident", "loaded"):
        data = load_images(images, loading=loading)
        for number in torch.cat([data.parts["val"].ids, data.parts["test"].ids]).tolist():
            Image.new("RGB", (6, 4), (255, 255, 255)).save(Path(images.source) / data.name_of(number))
        after = load_images(images, loading=loading)
        assert after.fields == data.fields
        (field,) = after.fields.inputs
        assert isinstance(field, ImageField)
        assert field.mean[1:] == (5, 9)


def test_a_table_is_always_resident(load, frame: pd.DataFrame):
    assert load(frame, loading="loaded").spec.loading == "resident"


@pytest.mark.parametrize(("name", "task"), [("titanic", CLASSES), ("penguins", CLASSES)])
def test_fields_of_a_real_table_survive_json(public_data, name: str, task: TaskName):
    label = {"titanic": "Survived", "penguins": "species"}[name]
    dataset = {"source": str(public_data(f"{name}/{name}.csv")), "columns": {"label": label}}
    fields = load_dataset(Dataset.model_validate(dataset), TASKS[task]).fields
    assert Fields.from_json(fields.to_json(), fields.assets()) == fields
