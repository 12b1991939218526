"""Boxes that a saved model finds: as tables, as COCO's JSON, drawn, and served."""

import json
import shutil
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from stoker.datasets.loading import read_source
from stoker.datasets.values.boxes import Boxed
from stoker.errors import JobError
from stoker.inference.evaluation import evaluate
from stoker.inference.model import Model
from stoker.inference.output import write_answers, write_folder
from stoker.inference.prediction import predict
from stoker.job.dataset import Dataset
from stoker.tasks.choice import TASK_CLASSES
from stoker.training.assembly import assemble
from stoker.training.preparation import prepare

NETWORK = {"family": "detector", "channels": [8, 8], "width": 8, "depth": 1, "score": 0.0, "most": 3}
"""Untrained, and content with any score: each picture has three boxes."""


@pytest.fixture(scope="module")
def folder(make_job, tiny_data, tmp_path_factory, store) -> Path:
    folder = tmp_path_factory.mktemp("found")
    store(assemble(prepare(make_job("object-detection", tiny_data("object-detection"), architecture=NETWORK))), folder)
    return folder


@pytest.fixture(scope="module")
def model(folder: Path) -> Model:
    return Model.load(folder / "run" / "model")


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Two pictures, of which one is twice as large as those of the training."""
    small = np.add.outer(np.arange(24) ** 2 / 4, np.arange(32) * 3).astype(np.uint8)
    (tmp_path / "pictures").mkdir()
    Image.fromarray(small).save(tmp_path / "pictures" / "a.png")
    Image.fromarray(small.repeat(2, axis=0).repeat(2, axis=1)).save(tmp_path / "pictures" / "b.png")
    return tmp_path / "pictures"


def test_boxes_are_in_the_pixels_of_each_picture(model: Model, pictures: Path, tmp_path: Path):
    (answers,) = predict(model, str(pictures))
    assert answers.table["width"].tolist() == [32, 64]
    assert answers.table["boxes"].tolist() == [3, 3]
    assert write_answers(answers.table, model.task, tmp_path / "boxes.csv") == 6
    table = pd.read_csv(tmp_path / "boxes.csv")
    assert list(table.columns) == ["input", "class", "score", "left", "top", "right", "bottom"]
    of_a, of_b = table[table["input"].str.endswith("a.png")], table[table["input"].str.endswith("b.png")]
    sides = ["left", "top", "right", "bottom"]
    np.testing.assert_allclose(of_b[sides].to_numpy()[0], 2 * of_a[sides].to_numpy()[0], atol=1.5)
    assert set(table["class"]) <= {"dark", "bright"}


def test_the_json_of_found_boxes_is_read_as_labels(model: Model, pictures: Path, tmp_path: Path):
    assert write_folder(predict(model, str(pictures), draw=True), tmp_path / "out", model.task) == 2
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "annotated",
        "predictions.csv",
        "predictions.json",
    ]
    assert Image.open(tmp_path / "out" / "annotated" / "a.png").size == (160, 120)  # enlarged to be seen
    content = json.loads((tmp_path / "out" / "predictions.json").read_text())
    for image in content["images"]:
        image["file_name"] = Path(image["file_name"]).name
    (pictures / "labels.json").write_text(json.dumps(content))
    records, found = read_source(Dataset(source=str(pictures)))
    assert found == "coco"
    table = pd.read_csv(tmp_path / "out" / "predictions.csv")
    for name, text in zip(records.names, records.columns["boxes"], strict=True):
        of_it = table[table["input"].str.endswith(name)]
        for box, row in zip(Boxed.read(text).boxes, of_it.to_dict("records"), strict=True):
            assert box.name == row["class"]
            assert box.sides == pytest.approx([row[side] for side in ("left", "top", "right", "bottom")], abs=0.11)


def test_other_pictures_with_boxes_are_measured(model: Model, tiny_data, tmp_path: Path):
    shutil.copytree(tiny_data("object-detection")["source"], tmp_path / "other")
    everything = evaluate(model, str(tmp_path / "other"))
    assert everything.keys() == {"class", "box", "loss", "map", "map50", "map75"}
    (tmp_path / "other" / "data.yaml").write_text("names: [bright, dark]")  # the other way round
    assert evaluate(model, str(tmp_path / "other"))["class"] != everything["class"]


def test_a_json_is_for_boxes_alone(tmp_path: Path, model: Model):
    task = TASK_CLASSES["image-classification"](model.fields)
    with pytest.raises(JobError, match=r"\.json is for boxes, as COCO writes them; name a file with \.csv"):
        write_answers(pd.DataFrame({"prediction": ["a"]}), task, tmp_path / "a.json")


def test_a_served_model_answers_with_the_same_boxes(folder: Path, model: Model):
    rng = np.random.default_rng(1)
    sent = rng.integers(0, 256, (3, 24, 32, 1), np.uint8)
    expected = model.predict(sent).table
    answered = mlflow.pyfunc.load_model(str(folder / "stored")).predict(sent)
    pd.testing.assert_frame_equal(answered, expected, check_dtype=False)
    assert len(json.loads(answered["prediction"][0])) == 3
