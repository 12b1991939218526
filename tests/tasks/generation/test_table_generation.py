"""What is measured of new rows, and what they are."""

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from stoker.datasets.loading import load_dataset
from stoker.errors import JobError
from stoker.inference.generation import generate_rows
from stoker.inference.model import Model, save_model
from stoker.job.dataset import Columns, Dataset
from stoker.job.task import TASKS
from stoker.job.training import Training
from stoker.tasks.generation.row_comparison import indicators
from stoker.training.assembly import assemble
from stoker.training.loop import start, train
from stoker.training.preparation import prepare


def measured(task_of, rows, real: torch.Tensor, made: torch.Tensor) -> dict[str, float]:
    metrics = task_of("table-generation").expensive_metrics(len(real))
    metrics.update(made, rows({"numbers": real[:, :2], "categories": real[:, 2:].long()}))
    return metrics.compute()


def test_the_same_rows_have_no_distance_and_others_the_share_that_differs(rows, task_of):
    rng = torch.Generator().manual_seed(0)
    length = torch.randn(100, generator=rng)
    real = torch.stack([length, torch.zeros(100), (length > 0) + 1.0], dim=1)
    assert measured(task_of, rows, real, real) == {"marginals": 0.0, "correlations": 0.0}
    made = real.clone()
    made[:30, 0] = 99.0
    made[:, 1] = 0.0
    made[:50, 2] = 0.0  # half of the colours are missing
    found = measured(task_of, rows, real, made)
    assert found["marginals"] == pytest.approx((0.3 + 0.5) / 2, abs=0.06)
    assert found["correlations"] > 0.1
    made[:, 1] = 1.0  # no row has a length
    assert measured(task_of, rows, real, made)["marginals"] == pytest.approx((1 + 0.5) / 2)


def test_a_network_without_its_losses_is_refused(task_of):
    with pytest.raises(JobError, match="the network makes no rows: it needs `errors"):
        task_of("table-generation").objective(nn.Identity(), Training())


def test_a_label_of_quantities_is_refused(tmp_path):
    pd.DataFrame({"a": [1.5, 2, 3, 4] * 10, "b": np.arange(40) / 7}).to_csv(tmp_path / "t.csv", index=False)
    dataset = Dataset(source=str(tmp_path / "t.csv"), columns=Columns(label="b"))
    with pytest.raises(JobError, match=r"'b' holds numbers, and new samples are of a class; leave out dataset"):
        load_dataset(dataset, TASKS["table-generation"])


@pytest.fixture(scope="module")
def learnt(tmp_path_factory, make_job) -> tuple[Model, pd.DataFrame]:
    """A model of flowers: their size tells the kind and the number of leaves, and some colours are missing."""
    rng, folder = np.random.default_rng(0), tmp_path_factory.mktemp("rows")
    kind = rng.choice(["rose", "daisy", "lily"], 400, p=[0.6, 0.3, 0.1])
    size = np.select([kind == "rose", kind == "daisy"], [10.0, 100.0], 1000.0) * rng.lognormal(0, 0.2, 400)
    table = pd.DataFrame({"size": size.round(2), "leaves": (np.log10(size) * 5).round().astype(int)})
    table["colour"] = np.where(rng.random(400) < 0.2, None, np.where(kind == "rose", "red", "white"))
    table["kind"] = kind
    table.to_csv(folder / "flowers.csv", index=False)
    settings = {"steps": 400, "batch_size": 64, "optimizer": {"type": "adamw", "lr": 5e-3}, "precision": "fp32"}
    dataset = {"source": str(folder / "flowers.csv"), "columns": {"label": "kind"}}
    network = {"family": "tabular-diffusion", "width": 32, "layers": 2, "steps": 12}
    training = {**settings, "evaluate": {"every": "100 epochs"}}
    assembly = assemble(prepare(make_job("table-generation", dataset, architecture=network, training=training)))
    for _ in train("r", start(assembly)):
        pass
    save_model(folder / "model", assembly.job, assembly.data.fields, assembly.objective, "")
    return Model.load(folder / "model"), table


def test_new_rows_are_like_those_of_the_table(learnt):
    model, table = learnt
    made = generate_rows(model, 500, seed=1)
    assert sorted(made.columns) == sorted(table.columns)
    assert made["leaves"].dtype == "Int64"
    assert made["size"].between(table["size"].min(), table["size"].max()).all()
    assert np.array_equal(made["size"].round(2), made["size"])
    assert set(made["colour"].dropna()) <= {"red", "white"}
    assert made["colour"].isna().mean() == pytest.approx(0.2, abs=0.08)
    assert (made["kind"] == "rose").mean() == pytest.approx(0.6, abs=0.07)
    assert made.groupby("kind")["size"].median()["lily"] > 5 * made.groupby("kind")["size"].median()["daisy"]
    real, new = (each[["size", "leaves"]].corr("spearman").iloc[0, 1] for each in indicators(table, made))
    assert new == pytest.approx(real, abs=0.1)


def test_the_same_seed_makes_the_same_rows_of_the_asked_classes(learnt):
    model, _ = learnt
    few, again = generate_rows(model, 4, 7, ("lily", "rose")), generate_rows(model, 4, 7, ("lily", "rose"))
    assert few["kind"].tolist() == ["lily", "rose"] * 2
    pd.testing.assert_frame_equal(few, again)
    assert not few["size"].equals(generate_rows(model, 4, 8, ("lily", "rose"))["size"])
    with pytest.raises(JobError, match="the model has no class tulip; it knows daisy, lily, rose"):
        generate_rows(model, 1, 0, ("tulip",))
