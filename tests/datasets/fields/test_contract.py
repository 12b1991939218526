"""The contract of every kind of field."""

import json
from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from stoker.datasets.dataset import LoadedDataset
from stoker.datasets.fields.boxes import BoxesField
from stoker.datasets.fields.category import CategoryField, ClassField
from stoker.datasets.fields.field import Field, InputField
from stoker.datasets.fields.image import ImageField
from stoker.datasets.fields.kinds import INPUT_FIELDS, TARGET_FIELDS
from stoker.datasets.fields.mask import MaskField
from stoker.datasets.fields.normality import NormalityField
from stoker.datasets.fields.number import NumberField, ValueField
from stoker.datasets.fields.schema import Fields
from stoker.datasets.fields.tags import TagsField
from stoker.datasets.fields.texts.answer import AnswerField
from stoker.datasets.fields.texts.dialogue import DialogueField
from stoker.datasets.fields.texts.target_text import TargetTextField
from stoker.datasets.fields.texts.text import TextField
from stoker.datasets.fields.texts.word_pieces import WordPiecesField
from stoker.datasets.fields.texts.word_tags import WordTagsField
from stoker.datasets.fields.texts.words import WordsField
from stoker.datasets.fields.time import TimeField
from stoker.datasets.loading import load_dataset
from stoker.datasets.records import Files, RawColumn, pick
from stoker.datasets.values.boxes import Box, Boxed
from stoker.errors import JobError
from stoker.job.dataset import Dataset, Text
from stoker.job.task import TASKS, TaskName

SAMPLES = 60
SETTINGS = Dataset(source="data")
RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 200, (SAMPLES, 4, 5, 3), np.uint8)
MASKS = RNG.integers(0, 3, (SAMPLES, 4, 5), np.uint8)


class FieldContract(ABC):
    """Subclassed once per kind; each is fitted and encoded alone and as part of a dataset."""

    kind: type[Field]
    task: TaskName = "tabular-classification"
    types: dict[str, str] = {"c": "category"}  # noqa: RUF012  # a table of pytest's classes, never changed

    @abstractmethod
    def raw(self) -> RawColumn:
        """Return SAMPLES raw values."""

    @abstractmethod
    def outliers(self, count: int) -> RawColumn:
        """Return outliers that `raw` lacks and a held-out part may have."""

    def fit(self, raw: RawColumn) -> Field:
        return self.kind.fit("c", raw, SETTINGS)

    def write(self, folder: Path, raw: RawColumn) -> None:
        """Write the samples of a dataset with these values."""
        assert isinstance(raw, pd.Series)
        frame = pd.DataFrame({"c": raw.reset_index(drop=True), "y": ["a", "b"] * (SAMPLES // 2)})
        frame.to_csv(folder / "data.csv", index=False)

    def dataset(self, folder: Path) -> Dataset:
        columns = {"label": "y", "types": self.types}
        return Dataset.model_validate({"source": str(folder / "data.csv"), "columns": columns})

    def load(self, folder: Path) -> LoadedDataset:
        return load_dataset(self.dataset(folder), TASKS[self.task])

    def test_fields_are_fitted_on_the_training_part_alone(self, tmp_path: Path):
        raw = self.raw()
        self.write(tmp_path, raw)
        before = self.load(tmp_path)
        held_out = np.sort(torch.cat([before.parts["val"].ids, before.parts["test"].ids]).numpy())
        assert len(held_out) == SAMPLES // 5
        self.write(tmp_path, replaced(raw, held_out, self.outliers(len(held_out))))
        after = self.load(tmp_path)
        assert after.fields == before.fields
        assert after.fingerprint != before.fingerprint
        assert any(isinstance(each, self.kind) for each in (*after.fields.inputs, after.fields.target))

    def test_fitted_values_depend_on_the_training_part(self):
        few = pick(self.raw(), np.arange(20))
        assert self.fit(replaced(few, np.arange(10), self.outliers(10))) != self.fit(few)

    def test_a_field_survives_json(self):
        field = self.fit(self.raw())
        again = self.kind.from_json(json.loads(json.dumps(field.to_json())), field.assets())
        assert again == field
        assert torch.equal(taken(again, self.raw()), taken(field, self.raw()))

    def test_every_raw_value_becomes_one_row(self):
        field = self.fit(self.raw())
        for rows in ([5, 3, 3], [0], list(range(SAMPLES))):
            raw = pick(self.raw(), np.array(rows))
            assert len(field.encode(raw)) == len(rows)
            assert len(taken(field, raw)) == len(rows)

    def test_encoding_does_not_depend_on_other_values(self):
        field = self.fit(self.raw())
        whole = field.encode(self.raw())
        for row in (0, 7, SAMPLES - 1):
            alone = taken(field, pick(self.raw(), np.array([row])))
            assert torch.equal(whole.take(torch.tensor([row])), alone)

    def test_no_values_give_no_rows(self):
        assert len(self.fit(self.raw()).encode(pick(self.raw(), np.array([], np.int64)))) == 0

    def test_encoding_does_not_change_the_raw_values(self):
        raw, before = self.raw(), self.raw()
        self.fit(raw).encode(raw)
        if isinstance(raw, pd.Series):
            pd.testing.assert_series_equal(raw, before)
        else:
            assert isinstance(raw, np.ndarray)
            assert (raw == before).all()

    def test_the_input_has_the_shape_of_the_signature(self):
        field = self.fit(self.raw())
        if not isinstance(field, InputField):
            return
        fields = Fields((field,), None)
        (name,) = fields.signature.inputs
        seen = field.prepare(taken(field, self.raw()))
        shape: Any = fields.signature.inputs[name]
        expected: dict[str, Callable[[], bool]] = {
            "NumbersInput": lambda: seen.shape == (SAMPLES, shape.width) and seen.dtype == torch.float32,
            "CategoriesInput": lambda: bool((seen < torch.tensor(shape.sizes)).all()) and seen.dtype == torch.int64,
            "TextInput": lambda: int(seen.max()) < shape.vocabulary and seen.shape[1] <= shape.length,
            "WordsInput": lambda: (
                int(seen[..., 0].max()) < shape.vocabulary
                and int(seen[..., 1:].max()) < shape.alphabet
                and (seen.shape[1] <= shape.length, seen.shape[2]) == (True, 1 + shape.characters)
            ),
            "PiecesInput": lambda: (
                (int(seen[..., 0].max()) < shape.vocabulary, seen.dtype) == (True, torch.int64)
                and (int(seen[..., 1].max()) <= seen.shape[1] <= shape.length, seen.shape[2]) == (True, 2)
            ),
            "ImageInput": lambda: seen.shape == (SAMPLES, shape.channels, shape.height, shape.width),
        }
        assert expected[type(shape).__name__]()


def taken(field: Field, raw: RawColumn) -> torch.Tensor:
    column = field.encode(raw)
    return column.take(torch.arange(len(column)))


def replaced(raw: RawColumn, rows: np.ndarray, by: RawColumn) -> RawColumn:
    """Replace the values of some rows."""
    assert not isinstance(raw, Files)
    assert not isinstance(by, Files)
    if isinstance(raw, np.ndarray):
        changed = raw.copy()
        changed[rows] = by
        return changed
    cells = raw.tolist()
    for row, value in zip(rows, by, strict=True):
        cells[row] = value
    return pd.Series(cells)


class TestNumber(FieldContract):
    kind, types = NumberField, {"c": "number"}

    def raw(self) -> RawColumn:
        return pd.Series([None if number % 9 == 4 else number**1.5 for number in range(SAMPLES)], dtype=float)

    def outliers(self, count: int) -> RawColumn:
        return pd.Series([1e9, -1e9, None, 0.0] * count)[:count]


class TestWrittenNumber(TestNumber):
    """The same for numbers written as text, among which a held-out part has a mark of its own for a missing one."""

    def raw(self) -> RawColumn:
        return pd.Series([f"{number**1.5:,.2f} EUR" for number in range(SAMPLES)])

    def outliers(self, count: int) -> RawColumn:
        return pd.Series(["1.0e9", "none", "-7", "0"] * count)[:count]


class TestTime(FieldContract):
    kind, types = TimeField, {"c": "time"}

    def raw(self) -> RawColumn:
        return pd.Series(pd.date_range("2023-05-06", periods=SAMPLES, freq="31h").strftime("%d/%m/%Y %H:%M"))

    def outliers(self, count: int) -> RawColumn:
        return pd.Series(["01/01/2040 00:00", None, "31/12/1970 23:59", "soon"] * count)[:count]


class TestCategory(FieldContract):
    kind = CategoryField

    def raw(self) -> RawColumn:
        return pd.Series(["red", "green", None, "blue"] * (SAMPLES // 4))

    def outliers(self, count: int) -> RawColumn:
        return pd.Series([f"new {number}" for number in range(count)])


class TestText(FieldContract):
    kind, task, types = TextField, "text-classification", {"c": "text"}

    def raw(self) -> RawColumn:
        return pd.Series(
            [None if number == 7 else f"a {'b ' * (number % 5)} word{number % 4}" for number in range(SAMPLES)]
        )

    def outliers(self, count: int) -> RawColumn:
        return pd.Series(["other words, other words " * 200] * count)


class TestImage(FieldContract):
    kind, task = ImageField, "image-classification"

    def raw(self) -> RawColumn:
        return IMAGES.copy()

    def outliers(self, count: int) -> RawColumn:
        return np.full((count, 4, 5, 3), 255, np.uint8)

    def write(self, folder: Path, raw: RawColumn) -> None:
        assert isinstance(raw, np.ndarray)
        np.savez(folder / "data.npz", image=raw, label=np.array(["a", "b"] * (SAMPLES // 2)))

    def dataset(self, folder: Path) -> Dataset:
        return Dataset(source=str(folder / "data.npz"))


class TestImageFiles(TestImage):
    """The same for files, decoded at the start or on access."""

    def write(self, folder: Path, raw: RawColumn) -> None:
        assert isinstance(raw, np.ndarray)
        for number, pixels in enumerate(raw):
            (folder / "ab"[number % 2]).mkdir(exist_ok=True)
            Image.fromarray(pixels).save(folder / "ab"[number % 2] / f"{number:02}.png")

    def dataset(self, folder: Path) -> Dataset:
        return Dataset(source=str(folder))

    def test_fields_are_fitted_on_the_training_part_alone(self, tmp_path: Path):
        order = [*range(0, SAMPLES, 2), *range(1, SAMPLES, 2)]  # the folders of the classes follow each other
        self.write(tmp_path, IMAGES)
        for loading in ("resident", "loaded"):
            dataset = self.dataset(tmp_path).model_copy(update={"loading": loading})
            before = load_dataset(dataset, TASKS[self.task])
            held_out = torch.cat([before.parts["val"].ids, before.parts["test"].ids]).tolist()
            for number in held_out:
                name = tmp_path / before.name_of(number)
                assert int(name.stem) == order[number]
                Image.fromarray(np.full((4, 5, 3), 255, np.uint8)).save(name)
            assert load_dataset(dataset, TASKS[self.task]).fields == before.fields
            self.write(tmp_path, IMAGES)


class TestClass(FieldContract):
    """A class that only a held-out part has is refused, so these parts swap their classes here."""

    kind = ClassField

    def raw(self) -> RawColumn:
        return pd.Series(["a", "b", "c"] * (SAMPLES // 3))

    def outliers(self, count: int) -> RawColumn:
        return pd.Series([0] * count)

    def test_fields_are_fitted_on_the_training_part_alone(self, tmp_path: Path):
        frame = pd.DataFrame({"x": RNG.normal(size=SAMPLES), "y": self.raw()})
        for part, size in {"train": 40, "dev": 10, "test": 10}.items():
            frame.head(size).to_csv(tmp_path / f"{part}.csv", index=False)
        dataset = Dataset.model_validate({"source": str(tmp_path), "columns": {"label": "y"}})
        before = load_dataset(dataset, TASKS[self.task])
        for part in ("dev", "test"):
            frame.head(10).assign(y="c", x=1e9).to_csv(tmp_path / f"{part}.csv", index=False)
        assert load_dataset(dataset, TASKS[self.task]).fields == before.fields


class TestNormality(FieldContract):
    """Classes that only held-out parts have are anomalies."""

    kind, task = NormalityField, "anomaly-detection"

    def raw(self) -> RawColumn:
        return pd.Series(["a", "b", "c"] * (SAMPLES // 3))

    def outliers(self, count: int) -> RawColumn:
        return pd.Series([0] * count)

    def test_fields_are_fitted_on_the_training_part_alone(self, tmp_path: Path):
        labels = np.array([*"ab" * 20, *"ac" * 10])
        for part, rows in {"train": slice(40), "test": slice(40, None)}.items():
            for number, label in enumerate(labels[rows]):
                (tmp_path / part / label).mkdir(parents=True, exist_ok=True)
                Image.fromarray(IMAGES[number]).save(tmp_path / part / label / f"{number}.png")
        data = load_dataset(Dataset(source=str(tmp_path)), TASKS[self.task])
        assert data.fields.target == NormalityField("label", ("a", "b"))
        assert sorted(data.parts["test"].target.take(torch.arange(20)).tolist()) == [-1] * 10 + [0] * 10


class TestValue(FieldContract):
    kind, task = ValueField, "tabular-regression"

    def raw(self) -> RawColumn:
        return pd.Series(np.arange(SAMPLES) ** 1.5)

    def outliers(self, count: int) -> RawColumn:
        return pd.Series([1e9] * count)

    def write(self, folder: Path, raw: RawColumn) -> None:
        numbers = np.random.default_rng(0).normal(size=SAMPLES)
        pd.DataFrame({"x": numbers, "y": raw}).to_csv(folder / "data.csv", index=False)

    def dataset(self, folder: Path) -> Dataset:
        return Dataset.model_validate({"source": str(folder / "data.csv"), "columns": {"label": "y"}})


class TestMask(FieldContract):
    """A pixel value that only a held-out part has is refused, since fields are fitted on training masks."""

    kind, task = MaskField, "segmentation"

    def raw(self) -> RawColumn:
        return MASKS.copy()

    def outliers(self, count: int) -> RawColumn:
        return np.full((count, 4, 5), 2, np.uint8)

    def write(self, folder: Path, raw: RawColumn) -> None:
        assert isinstance(raw, np.ndarray)
        np.savez(folder / "data.npz", image=IMAGES, mask=raw)

    def dataset(self, folder: Path) -> Dataset:
        return Dataset(source=str(folder / "data.npz"))

    def test_fields_are_fitted_on_the_training_part_alone(self, tmp_path: Path):
        super().test_fields_are_fitted_on_the_training_part_alone(tmp_path)
        for part in ("val", "test"):
            self.write(tmp_path, MASKS)
            masks = MASKS.copy()
            masks[self.load(tmp_path).parts[part].ids.numpy()] = 9
            self.write(tmp_path, masks)
            with pytest.raises(JobError, match=r"pixels of value 9, which no training mask has \(known: 0, 1, 2\)"):
                self.load(tmp_path)

    def test_fitted_values_depend_on_the_training_part(self):
        assert self.fit(np.minimum(MASKS, 1)) != self.fit(MASKS)


class TestBoxes(FieldContract):
    """Boxes of a class that only a held-out part has are left out, with a note."""

    kind, task = BoxesField, "object-detection"

    def raw(self) -> RawColumn:
        kinds = ((), ("a",), ("b", "a"))
        return pd.Series([boxed(number, kinds[number % 3]) for number in range(SAMPLES)])

    def outliers(self, count: int) -> RawColumn:
        return pd.Series([boxed(number, ("c",)) for number in range(count)])

    def write(self, folder: Path, raw: RawColumn) -> None:
        images, annotations = [], []
        for number, boxes in enumerate(Boxed.read(text).boxes for text in raw):
            Image.fromarray(IMAGES[number]).save(folder / f"{number:02}.png")
            images.append({"id": number, "file_name": f"{number:02}.png"})
            for box in boxes:
                sides = [box.left, box.top, box.right - box.left, box.bottom - box.top]
                annotations.append({"image_id": number, "category_id": box.name, "bbox": sides})
        categories = [{"id": name, "name": name} for name in "abc"]
        content = {"images": images, "annotations": annotations, "categories": categories}
        (folder / "boxes.json").write_text(json.dumps(content))

    def dataset(self, folder: Path) -> Dataset:
        return Dataset(source=str(folder), format="coco")

    def test_the_sides_are_shares_of_the_picture_and_unknown_classes_are_left_out(self):
        column = self.fit(self.raw()).encode(pd.Series([boxed(0, ("c", "b")), boxed(1, ())]))
        assert column.take(torch.arange(2)).tolist() == [
            [pytest.approx([2, 1 / 5, 1 / 4, 3 / 5, 3 / 4])],
            [[0.0] * 5],
        ]
        notes = list(
            self.fit(self.raw()).notes(pd.Series([boxed(0, ("c",)), boxed(0, ())]), np.array(["val", "train"]))
        )
        assert notes == [
            "1 of 2 pictures show no object",
            "no training picture shows c; boxes of these classes are left out",
        ]
        with pytest.raises(JobError, match="no picture of the training part has a box: there is nothing to learn"):
            self.fit(pd.Series([boxed(0, ())]))


def boxed(number: int, names: tuple[str, ...]) -> str:
    """Return a picture of 4x5 pixels with a box of each of some classes."""
    boxes = tuple(Box(name, kind, 1.0, 2.0 + number % 2 + kind, 3.0) for kind, name in enumerate(names))
    return Boxed(4, 5, boxes).text()


class TestTags(FieldContract):
    kind, task = TagsField, "multi-label-classification"

    def raw(self) -> RawColumn:
        return pd.Series(["a; b", None, "b", '["c", "a"]', "c;c; d", "d"] * (SAMPLES // 6))

    def outliers(self, count: int) -> RawColumn:
        return pd.Series([f"e{number % 3}; a" for number in range(count)])

    def write(self, folder: Path, raw: RawColumn) -> None:
        numbers = np.random.default_rng(0).normal(size=SAMPLES)
        pd.DataFrame({"x": numbers, "y": raw}).to_csv(folder / "data.csv", index=False)

    def dataset(self, folder: Path) -> Dataset:
        return Dataset.model_validate({"source": str(folder / "data.csv"), "columns": {"label": "y"}})


class TestWords(FieldContract):
    kind, task = WordsField, "token-classification"

    def raw(self) -> RawColumn:
        return pd.Series(
            [None if number == 7 else json.dumps(["Ann", "saw", *["me"] * (number % 4)]) for number in range(SAMPLES)]
        )

    def outliers(self, count: int) -> RawColumn:
        return pd.Series([json.dumps(["Łódź", "other"] * 200)] * count)

    def write(self, folder: Path, raw: RawColumn) -> None:
        assert isinstance(raw, pd.Series)
        sentences = [json.loads(cell) if isinstance(cell, str) else [] for cell in raw]
        rows = [{"c": words, "y": ["A" if word == "me" else "B" for word in words]} for words in sentences]
        (folder / "data.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))

    def dataset(self, folder: Path) -> Dataset:
        return Dataset.model_validate({"source": str(folder / "data.jsonl"), "columns": {"label": "y"}})


class TestWordPieces(FieldContract):
    kind, task = WordPiecesField, "token-classification"
    model = ""

    @pytest.fixture(autouse=True)
    def tokenizer(self, tiny_model: Callable[[str], Path]) -> None:
        self.model = str(tiny_model("bert"))

    def fit(self, raw: RawColumn) -> Field:
        return self.kind.fit("c", raw, Dataset.model_validate({"source": "data", "text": {"tokenizer": self.model}}))

    def dataset(self, folder: Path) -> Dataset:
        return TestWords().dataset(folder).model_copy(update={"text": Text(tokenizer=self.model)})

    def raw(self) -> RawColumn:
        return TestWords().raw()

    def outliers(self, count: int) -> RawColumn:
        return TestWords().outliers(count)

    def write(self, folder: Path, raw: RawColumn) -> None:
        TestWords().write(folder, raw)

    def test_fitted_values_depend_on_the_training_part(self):
        """All comes with the model."""
        assert self.fit(self.outliers(20)) == self.fit(self.raw())


class TestWordTags(FieldContract):
    """A tag that only a held-out part has is refused, so these parts have others of the known ones."""

    kind, task = WordTagsField, "token-classification"

    def raw(self) -> RawColumn:
        return pd.Series([json.dumps(["O", "B-PER", *["I-PER"] * (number % 3)]) for number in range(SAMPLES)])

    def outliers(self, count: int) -> RawColumn:
        return pd.Series([json.dumps(["O"] * 9)] * count)

    def write(self, folder: Path, raw: RawColumn) -> None:
        frame = pd.DataFrame({"x": [json.dumps(["Ann"] * len(json.loads(cell))) for cell in raw], "y": raw})
        frame.to_csv(folder / "data.csv", index=False)

    def dataset(self, folder: Path) -> Dataset:
        return Dataset.model_validate({"source": str(folder / "data.csv"), "columns": {"label": "y"}})

    def test_fitted_values_depend_on_the_training_part(self):
        others = pd.Series([json.dumps(["B-LOC", "O"])] * 20)
        assert self.fit(others) != self.fit(pick(self.raw(), np.arange(20)))


class TestTargetText(FieldContract):
    kind, task = TargetTextField, "translation"

    def raw(self) -> RawColumn:
        return pd.Series([f"ein {'b ' * (number % 5)} Wort{number % 4}" for number in range(SAMPLES)])

    def outliers(self, count: int) -> RawColumn:
        return pd.Series(["andere Worte, andere Worte " * 200] * count)

    def write(self, folder: Path, raw: RawColumn) -> None:
        texts = [f"a word{number % 4}" for number in range(SAMPLES)]
        pd.DataFrame({"x": texts, "y": raw}).to_csv(folder / "data.csv", index=False)

    def dataset(self, folder: Path) -> Dataset:
        return Dataset.model_validate({"source": str(folder / "data.csv"), "columns": {"label": "y"}})


class TestAnswer(FieldContract):
    kind, task = AnswerField, "question-answering"

    def raw(self) -> RawColumn:
        return pd.Series([f"a {'b ' * (number % 5)}c" if number % 4 else None for number in range(SAMPLES)])

    def outliers(self, count: int) -> RawColumn:
        return pd.Series(["a b b b b b b b b c"] * count)

    def write(self, folder: Path, raw: RawColumn) -> None:
        texts = [f"in {'' if pd.isna(cell) else cell} {number}" for number, cell in enumerate(raw)]
        frame = pd.DataFrame({"question": ["what is in it?"] * SAMPLES, "context": texts, "y": raw})
        frame.to_csv(folder / "data.csv", index=False)

    def dataset(self, folder: Path) -> Dataset:
        return Dataset.model_validate({"source": str(folder / "data.csv"), "columns": {"label": "y"}})


class TestDialogue(FieldContract):
    kind, task = DialogueField, "instruction-tuning"

    def raw(self) -> RawColumn:
        return pd.Series([talk(f"a {'b ' * (number % 5)} word{number % 4}") for number in range(SAMPLES)])

    def outliers(self, count: int) -> RawColumn:
        return pd.Series([talk("other words, other words " * 200)] * count)

    def write(self, folder: Path, raw: RawColumn) -> None:
        assert isinstance(raw, pd.Series)
        pd.DataFrame({"c": raw.reset_index(drop=True)}).to_csv(folder / "data.csv", index=False)

    def dataset(self, folder: Path) -> Dataset:
        return Dataset(source=str(folder / "data.csv"))


def talk(text: str) -> str:
    said = [{"role": "user", "content": text}, {"role": "assistant", "content": f"not {text}"}]
    return json.dumps(said)


def test_every_kind_of_field_keeps_the_contract():
    kept = {each.kind for each in FieldContract.__subclasses__()}
    assert kept == {*INPUT_FIELDS.values(), *TARGET_FIELDS.values()}


@pytest.mark.parametrize("kind", [*INPUT_FIELDS.items(), *TARGET_FIELDS.items()])
def test_a_field_is_found_by_its_kind(kind: tuple[str, type[Field]]):
    assert kind[1].kind == kind[0]
