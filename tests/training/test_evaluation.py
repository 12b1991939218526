from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from stoker.datasets.feeding.batches import ordered_batches
from stoker.datasets.feeding.limits import MAX_BATCH, MAX_IMAGE_BATCH
from stoker.tasks.task import Review
from stoker.training.assembly import assemble
from stoker.training.evaluation import evaluate, evaluate_in_detail
from stoker.training.preparation import prepare

CPU = torch.device("cpu")


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """Write more rows than a batch, with an uneven last one."""
    rng = np.random.default_rng(0)
    count = MAX_BATCH + 1234
    frame = pd.DataFrame({"x": rng.normal(size=count), "z": rng.normal(size=count)})
    frame["y"] = (frame["x"] + rng.normal(size=count)).round(3)
    frame["c"] = np.where(frame["y"] > 0.5, "high", np.where(frame["z"] > 0, "low", "middle"))
    frame["w"] = rng.random(count)
    frame.to_csv(tmp_path / "table.csv", index=False)
    return tmp_path / "table.csv"


def forward(assembly, part: str = "train") -> tuple[torch.Tensor, torch.Tensor]:
    samples = assembly.parts[part]
    (batch,) = ordered_batches(samples, assembly.data.fields, len(samples))
    with torch.no_grad():
        return assembly.objective.groups()["network"](batch.inputs), batch.target


class OutputRecorder(Review):
    """Keeps all outputs."""

    def __init__(self) -> None:
        self.outputs: list[torch.Tensor] = []
        self.ids: list[torch.Tensor] = []

    def update(self, output, batch, ids) -> None:
        self.outputs.append(output)
        self.ids.append(ids)

    def state(self):
        return self.outputs, self.ids

    def merge(self, state) -> None:
        self.outputs += state[0]
        self.ids += state[1]

    def figures(self):
        return {}

    def rows(self):
        return []


def test_classification_is_exact_over_uneven_batches(make_job, table: Path):
    columns = {"label": "c", "features": ["x", "z"], "weight": "w"}
    job = make_job("tabular-classification", {"source": str(table), "columns": columns, "split": "none"})
    assembly = assemble(prepare(job))
    everything = OutputRecorder()
    found = evaluate_in_detail(assembly, "train", "fp32", everything)
    metrics = found.metrics
    assert found.review is everything
    logits, target = forward(assembly)
    weight = assembly.parts["train"].weight
    assert weight is not None
    losses = torch.nn.functional.cross_entropy(logits, target, reduction="none").double()
    assert metrics["loss"] == pytest.approx(float((losses * weight).sum() / weight.double().sum()), rel=1e-6)
    assert metrics["accuracy"] == pytest.approx(float((logits.argmax(1) == target).double().mean()), rel=1e-6)
    torch.testing.assert_close(torch.cat(everything.outputs), logits)
    assert torch.equal(torch.cat(everything.ids), torch.arange(len(target)))


def test_regression_is_exact_over_uneven_batches(make_job, table: Path):
    columns = {"label": "y", "features": ["x", "z"]}
    job = make_job("tabular-regression", {"source": str(table), "columns": columns, "split": "none"})
    assembly = assemble(prepare(job))
    metrics = evaluate(assembly, "train", "fp32")
    outputs, target = forward(assembly)
    output = assembly.data.fields.signature.output
    errors = outputs[:, 0].double() * output.scale + output.mean - target
    expected = {
        "loss": (errors / output.scale).square().mean(),
        "rmse": errors.square().mean().sqrt(),
        "mae": errors.abs().mean(),
        "r2": 1 - errors.square().sum() / (target.double() - target.double().mean()).square().sum(),
    }
    assert metrics == {name: pytest.approx(float(value), rel=1e-5) for name, value in expected.items()}


def test_images_are_exact_over_uneven_batches(make_job):
    assembly = assemble(prepare(make_job("image-classification", "digits", architecture="mlp")))
    samples = assembly.parts["train"]
    assert len(samples) > MAX_IMAGE_BATCH
    assert len(samples) % MAX_IMAGE_BATCH
    logits, target = forward(assembly)
    metrics = evaluate(assembly, "train", "fp32")
    assert metrics["loss"] == pytest.approx(float(torch.nn.functional.cross_entropy(logits, target)), rel=1e-5)
    assert metrics["accuracy"] == pytest.approx(float((logits.argmax(1) == target).double().mean()))


def test_the_result_does_not_depend_on_the_micro_batch(make_job):
    training = {"batch_size": 64, "precision": "fp32"}
    whole = assemble(prepare(make_job("image-classification", "digits", architecture="mlp", training=training)))
    training["micro_batch"] = 7
    pieces = assemble(prepare(make_job("image-classification", "digits", architecture="mlp", training=training)))
    most = []
    pieces.objective.network.register_forward_hook(lambda _module, _inputs, output: most.append(len(output)))
    assert evaluate(pieces, "train", "fp32") == pytest.approx(evaluate(whole, "train", "fp32"), abs=1e-6)
    assert max(most) == 7


def test_evaluation_changes_nothing(make_job):
    job = make_job("tabular-classification", "xor", architecture={"family": "mlp", "dropout": 0.5})
    assembly = assemble(prepare(job))
    assembly.objective.train()
    before = torch.get_rng_state()
    assert evaluate(assembly, "train", "fp32") == evaluate(assembly, "train", "fp32")
    assert assembly.objective.training
    assert torch.equal(torch.get_rng_state(), before)


def test_a_part_without_one_of_the_classes_is_measured(make_job, tmp_path: Path):
    frame = pd.DataFrame({"x": np.random.default_rng(0).normal(size=62), "y": [*["a", "b"] * 30, "c", "c"]})
    frame.to_csv(tmp_path / "rare.csv", index=False)
    job = make_job("tabular-classification", {"source": str(tmp_path / "rare.csv"), "columns": {"label": "y"}})
    assembly = assemble(prepare(job))
    assert assembly.data.counts["val"]["c"] == 0
    assert 0 <= evaluate(assembly, "val", "fp32")["auroc"] <= 1


def test_a_part_of_one_row_is_measured(make_job, tmp_path: Path):
    frame = pd.DataFrame({"x": [1.0, 2.5, 2.0, 4.0] * 3, "y": [1.0, 2.0, 3.0, 4.0] * 3})
    frame.to_csv(tmp_path / "few.csv", index=False)
    job = make_job("tabular-regression", {"source": str(tmp_path / "few.csv"), "columns": {"label": "y"}})
    assembly = assemble(prepare(job))
    assert len(assembly.parts["val"]) == 1
    metrics = evaluate(assembly, "val", "fp32")
    assert np.isfinite(metrics["rmse"])
    assert np.isnan(metrics["r2"])
