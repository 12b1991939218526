"""Where answers go."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from stoker.datasets.fields.schema import Fields
from stoker.inference.output import SUFFIXES, write_folder, write_table
from stoker.tasks.choice import TASK_CLASSES
from stoker.tasks.task import Answers

TASK = TASK_CLASSES["segmentation"](Fields((), None))
READ = {".csv": pd.read_csv, ".parquet": pd.read_parquet, ".jsonl": lambda path: pd.read_json(path, lines=True)}


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_table_is_written_whole_in_the_format_of_its_name(suffix: str, tmp_path: Path):
    table = pd.DataFrame({"prediction": ["a", "ü,\n"], "probability/a": [0.25, 1.0]})
    target = tmp_path / f"table{suffix}"
    target.write_text("old")
    write_table(table, target)
    pd.testing.assert_frame_equal(READ[suffix](target), table)
    assert list(tmp_path.iterdir()) == [target]


def test_a_table_that_cannot_be_written_leaves_the_old_one(tmp_path: Path):
    target = tmp_path / "table.parquet"
    target.write_text("old")
    with pytest.raises(Exception, match="mixed"):
        write_table(pd.DataFrame({"mixed": [1, "a"]}), target)
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_images_are_named_like_their_inputs_and_none_hides_another(tmp_path: Path):
    pixels = np.arange(3 * 4 * 5, dtype=np.uint8).reshape(3, 4, 5)
    names = ["a/1.png", "b/1.jpg", "b/2.png"]
    answers = [
        Answers(pd.DataFrame({"input": names[:2], "share/0": [0.5, 1.0]}), pixels[:2]),
        Answers(pd.DataFrame({"input": names[2:], "share/0": [0.25]}), pixels[2:]),
    ]
    assert write_folder(answers, tmp_path / "out", TASK) == 3
    written = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert written == ["1-2.png", "1.png", "2.png", "predictions.csv"]
    for name, image in zip(["1.png", "1-2.png", "2.png"], pixels, strict=True):
        assert np.array_equal(np.asarray(Image.open(tmp_path / "out" / name)), image)
    table = pd.read_csv(tmp_path / "out" / "predictions.csv")
    assert table["input"].tolist() == names
    assert table["share/0"].tolist() == [0.5, 1.0, 0.25]


def test_images_without_names_are_numbered_over_all_answers(tmp_path: Path):
    answers = [Answers(pd.DataFrame({"x": range(2)}), np.zeros((2, 3, 3, 1), np.uint8)) for _ in range(2)]
    assert write_folder(answers, tmp_path, TASK) == 4
    assert sorted(path.name for path in tmp_path.glob("*.png")) == ["0.png", "1.png", "2.png", "3.png"]


def test_answers_without_images_are_a_table_alone(tmp_path: Path):
    assert write_folder([Answers(pd.DataFrame({"prediction": ["a"]}))], tmp_path, TASK) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["predictions.csv"]
