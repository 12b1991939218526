import shutil
from pathlib import Path

import pandas as pd
import pytest
from PIL import Image

from stoker.errors import JobError, NotFound
from stoker.inference.evaluation import evaluate
from stoker.inference.model import Model, save_model
from stoker.training.assembly import assemble
from stoker.training.evaluation import evaluate as evaluate_in_training
from stoker.training.preparation import prepare


@pytest.mark.parametrize("name", ["flowers", "prices", "images", "films"])
@pytest.mark.parametrize("part", ["train", "val", "test"])
def test_a_model_measures_what_its_training_measured(name: str, part: str, request: pytest.FixtureRequest):
    run = request.getfixturevalue(name)
    expected = evaluate_in_training(run.assembly, part, "fp32")
    assert evaluate(run.model, part=part) == {
        f"{quantity}/{part}": pytest.approx(value, rel=1e-6, nan_ok=True) for quantity, value in expected.items()
    }


def test_new_data_have_metrics_without_a_part(flowers):
    metrics = evaluate(flowers.model, str(flowers.source))
    assert set(metrics) == {"loss", "accuracy", "f1", "auroc"}
    parts = [evaluate(flowers.model, part=part)[f"accuracy/{part}"] for part in ("train", "val", "test")]
    assert metrics["accuracy"] == pytest.approx((parts[0] * 72 + parts[1] * 9 + parts[2] * 9) / 90, abs=1e-6)


def test_new_tags_are_measured_without_the_column_of_the_split(films, tmp_path: Path):
    frame = pd.read_csv(films.source).drop(columns="part")
    frame.tail(15).to_csv(tmp_path / "new.csv", index=False)
    metrics = evaluate(films.model, str(tmp_path / "new.csv"))
    assert metrics == {
        name.removesuffix("/test"): pytest.approx(value, rel=1e-5)
        for name, value in evaluate(films.model, part="test").items()
    }
    assert metrics["f1_micro"] > 0.8


def test_new_images_are_measured_in_the_models_size(images, tmp_path: Path):
    for name, level in {"dark": 10, "bright": 240}.items():
        (tmp_path / name).mkdir()
        Image.new("L", (20, 30), level).save(tmp_path / name / "1.png")
    assert 0 <= evaluate(images.model, str(tmp_path))["accuracy"] <= 1


def test_data_that_changed_since_training_are_refused(flowers, tmp_path: Path):
    shutil.copy(flowers.source, kept := tmp_path / "kept.csv")
    try:
        frame = pd.read_csv(flowers.source)
        frame["length"] += 1
        frame.to_csv(flowers.source, index=False)
        with pytest.raises(JobError) as caught:
            evaluate(flowers.model)
        message = f"'{flowers.source}' has changed since the model was trained; name data with --input"
        assert str(caught.value) == message
    finally:
        shutil.copy(kept, flowers.source)


def test_a_class_that_the_model_never_saw_is_told(flowers, tmp_path: Path):
    frame = pd.read_csv(flowers.source)
    frame.loc[3, "kind"] = "tulip"
    frame.to_csv(tmp_path / "new.csv", index=False)
    with pytest.raises(JobError) as caught:
        evaluate(flowers.model, str(tmp_path / "new.csv"))
    assert [(problem.path, problem.message) for problem in caught.value.problems] == [
        ("", "classes the model does not know: tulip")
    ]


def test_what_is_not_there_is_told(flowers, tmp_path: Path):
    with pytest.raises(NotFound, match=r"^no file or folder 'nowhere\.csv'$"):
        evaluate(flowers.model, "nowhere.csv")
    with pytest.raises(JobError, match=r"the input lacks the columns kind, length, colour \(it has: image, digit\)"):
        evaluate(flowers.model, "digits")


def test_a_part_that_the_data_lack_is_told(make_job, tmp_path: Path):
    prepared = prepare(make_job("tabular-classification", {"source": "xor", "split": "none"}))
    objective = assemble(prepared).objective
    save_model(tmp_path, prepared.job, prepared.data.fields, objective, prepared.data.fingerprint)
    with pytest.raises(NotFound) as caught:
        evaluate(Model.load(tmp_path))
    assert str(caught.value) == "the data has no part 'test' (it has: train)"
