import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from stoker.datasets.cache import open_cache
from stoker.datasets.columns import Column
from stoker.datasets.dataset import LoadedDataset
from stoker.datasets.feeding.sharing import load_shared
from stoker.datasets.loading import load_dataset
from stoker.errors import StokerError
from stoker.job.dataset import Dataset
from stoker.job.task import TASKS, TaskName


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STOKER_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("stoker.datasets.feeding.sharing.MIN_BYTES", 0)


@pytest.fixture
def table(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"x": rng.normal(size=60), "kind": list("pqr") * 20, "w": 1.5, "y": list("ab") * 30})
    frame.to_csv(tmp_path / "a.csv", index=False)
    return tmp_path / "a.csv"


def write_images(folder: Path) -> None:
    for number in range(12):
        place = folder / "ab"[number % 2] / f"{number}.png"
        place.parent.mkdir(exist_ok=True, parents=True)
        Image.fromarray(np.full((6, 6), number * 20, np.uint8)).save(place)


def load(source: Path, task: TaskName, **keys: Any) -> LoadedDataset:
    return load_dataset(Dataset.model_validate({"source": str(source), **keys}), TASKS[task])


def never() -> LoadedDataset:
    raise AssertionError("it is there already")


def check_equal(one: Column | None, other: Column | None) -> None:
    assert one is not None
    assert other is not None
    assert type(one) is type(other)
    for name, tensor in one.tensors.items():
        assert torch.equal(tensor, other.tensors[name])
        assert tensor.dtype == other.tensors[name].dtype


def check_same(one: LoadedDataset, other: LoadedDataset) -> None:
    assert one.spec == other.spec
    assert one.fields == other.fields
    assert (one.counts, one.names, one.fingerprint) == (other.counts, other.names, other.fingerprint)
    assert one.notes == other.notes
    assert one.parts.keys() == other.parts.keys()
    for name, part in one.parts.items():
        twin = other.parts[name]
        assert part.inputs.keys() == twin.inputs.keys()
        for key, column in part.inputs.items():
            check_equal(column, twin.inputs[key])
        check_equal(part.target, twin.target)
        assert torch.equal(part.ids, twin.ids)
        assert (part.weight is None) == (twin.weight is None)
        if part.weight is not None and twin.weight is not None:
            assert torch.equal(part.weight, twin.weight)


class TestWhatIsLoadedTwice:
    def check(self, source: Path, task: TaskName, monkeypatch: pytest.MonkeyPatch, **keys: Any) -> LoadedDataset:
        monkeypatch.setattr("stoker.datasets.feeding.sharing.MIN_BYTES", 1 << 40)
        alone = load(source, task, **keys)
        monkeypatch.setattr("stoker.datasets.feeding.sharing.MIN_BYTES", 0)
        first = load(source, task, **keys)
        again = load_shared(Dataset.model_validate({"source": str(source), **keys}), TASKS[task], never)
        check_same(alone, first)
        check_same(alone, again)
        if isinstance(alone.example, pd.DataFrame):
            assert isinstance(again.example, pd.DataFrame)
            pd.testing.assert_frame_equal(alone.example, again.example)
        else:
            assert np.array_equal(alone.example, again.example)
        return again

    def test_a_table_with_weights_is_the_same(self, table: Path, monkeypatch: pytest.MonkeyPatch):
        self.check(table, "tabular-classification", monkeypatch, columns={"label": "y", "weight": "w"})

    def test_texts_are_the_same(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
        lines = [f"the film number {n}\t{'good' if n % 2 else 'bad'}" for n in range(40)]
        (tmp_path / "a.tsv").write_text("\n".join(["text\tlabel", *lines]))
        self.check(tmp_path / "a.tsv", "text-classification", monkeypatch, columns={"label": "label"})

    def test_images_are_the_same(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
        write_images(tmp_path / "images")
        self.check(tmp_path / "images", "image-classification", monkeypatch)

    def test_its_memory_is_mapped_from_the_file(self, table: Path):
        data = load(table, "tabular-classification", columns={"label": "y"})
        maps = Path(f"/proc/{os.getpid()}/maps").read_text()
        assert str(open_cache().folder) in maps
        assert len(data.parts) == 3


class TestWhatIsLoadedAnew:
    def test_is_changed_content(self, table: Path):
        before = load(table, "tabular-classification", columns={"label": "y"})
        time.sleep(0.01)  # the clock of a file system is that coarse
        table.write_text(table.read_text().replace("p,", "s,"))
        after = load(table, "tabular-classification", columns={"label": "y"})
        assert after.fingerprint != before.fingerprint
        assert after.fields != before.fields

    @pytest.mark.parametrize("keys", [{"split": {"seed": 1}}, {"columns": {"label": "y", "drop": ["x"]}}])
    def test_is_another_section(self, table: Path, keys: dict[str, Any]):
        load(table, "tabular-classification", columns={"label": "y"})
        section = {"source": str(table), "columns": {"label": "y"}, **keys}
        with pytest.raises(AssertionError, match="already"):
            load_shared(Dataset.model_validate(section), TASKS["tabular-classification"], never)

    def test_is_a_table_of_paths_whose_files_may_have_changed(self, tmp_path: Path):
        write_images(tmp_path)
        rows = [f"{path.relative_to(tmp_path)},{path.parent.name}" for path in sorted(tmp_path.rglob("*.png"))]
        (tmp_path / "a.csv").write_text("\n".join(["path,label", *rows]))
        section = {"source": str(tmp_path / "a.csv"), "columns": {"label": "label"}}
        load(tmp_path / "a.csv", "image-classification", columns={"label": "label"})
        with pytest.raises(AssertionError, match="already"):
            load_shared(Dataset.model_validate(section), TASKS["image-classification"], never)

    def test_is_a_small_source(self, table: Path, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.setattr("stoker.datasets.feeding.sharing.MIN_BYTES", 1 << 20)
        load(table, "tabular-classification", columns={"label": "y"})
        assert not (open_cache().folder / "views").exists()

    def test_is_a_dataset_that_does_not_fit_the_disk(self, table: Path, monkeypatch: pytest.MonkeyPatch):
        def full(*_: object) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr("stoker.datasets.cache.fetching.Cache.put", full)
        data = load(table, "tabular-classification", columns={"label": "y"})
        assert sum(map(len, data.parts.values())) == 60


def test_an_error_is_reported_each_time(table: Path):
    refused: Callable[[], LoadedDataset] = lambda: load(table, "tabular-classification", columns={"label": "z"})  # noqa: E731
    for _ in range(2):
        with pytest.raises(StokerError, match="no column 'z'"):
            refused()


def test_another_tokenizer_of_the_same_name_is_another_dataset(tmp_path, tiny_model):
    for number, kind in enumerate(("bert", "gpt2")):
        shutil.copytree(tiny_model(kind), tmp_path / "model", dirs_exist_ok=True)
        text = {"tokenizer": str(tmp_path / "model")}
        pd.DataFrame({"text": ["the film was good", "a bad plot"] * 20, "y": ["a", "b"] * 20}).to_csv(
            tmp_path / "a.csv", index=False
        )
        columns = {"label": "y", "types": {"text": "text"}}
        data = load(tmp_path / "a.csv", "text-classification", columns=columns, text=text)
        tokenizer = (tmp_path / "model" / "tokenizer.json").read_text()
        assert ("[CLS]" in tokenizer) == ("[CLS]" in data.fields.text.vocabulary) == (number == 0)
