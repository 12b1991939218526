"""Anomalies of a table, and rows that are made again of their codes."""

import numpy as np
import pandas as pd
import pytest
import torch

from stoker.architectures.pictures.autoencoder import misfits
from stoker.datasets.sources.sensors import FAULT, MODES, sensors
from stoker.inference.model import Model, save_model
from stoker.job.architecture.autoencoder import Autoencoder
from stoker.job.signature import CategoriesInput, NumbersInput, Signature
from stoker.tasks.pictures.drawn_again import row_errors
from stoker.training.assembly import assemble
from stoker.training.loop import start, train
from stoker.training.preparation import prepare

TRAINING = {"epochs": 8, "batch_size": 32, "precision": "fp32", "optimizer": {"type": "adamw", "lr": 5e-3}}


def learnt(make_job, folder, task: str, columns: dict[str, list[str]]) -> tuple[Model, dict[str, float]]:
    network = {"family": "autoencoder", "hidden": [48], "code": 5, "activation": "silu"}
    dataset = {"source": "sensors", "columns": columns}
    assembly = assemble(prepare(make_job(task, dataset, architecture=network, training=TRAINING)))
    *_, end, _ = train("r", start(assembly))
    save_model(folder, assembly.job, assembly.data.fields, assembly.objective, assembly.data.fingerprint)
    return Model.load(folder), end.metrics


def test_readings_that_do_not_go_together_are_found_with_their_sensor(make_job, tmp_path):
    model, metrics = learnt(make_job, tmp_path, "anomaly-detection", {"normal": ["normal"]})
    assert metrics["auroc/val"] > 0.9
    table = pd.DataFrame(sensors().columns)
    usual = table[table["state"] != FAULT].dropna().head(200).reset_index(drop=True)
    broken = usual.assign(sensor_3=usual["sensor_3"] + 6)
    answers = model.predict(broken)
    assert list(answers.table.columns) == ["prediction", "score", "column"]
    assert answers.images is None
    assert answers.table["prediction"].eq("anomaly").mean() > 0.9
    assert answers.table["column"].eq("sensor_3").mean() > 0.6
    assert model.predict(usual).table["prediction"].eq("normal").mean() > 0.8
    codes = model.predict(usual, "code").table
    assert list(codes.columns) == [f"code/{place}" for place in range(5)]


def test_rows_are_made_again_in_the_values_of_the_data(make_job, tmp_path):
    model, metrics = learnt(make_job, tmp_path, "reconstruction", {})
    assert metrics["mse/val"] < 0.3  # standardised numbers have 1 without any code
    table = pd.DataFrame(sensors().columns).head(50)
    answers = model.predict(table).table
    made = answers[[name for name in answers if name.startswith("made/")]]
    assert list(answers.columns)[:2] == ["prediction", "made/sensor_1"]
    assert set(made["made/mode"]) <= set(MODES)
    assert (made["made/mode"] == table["mode"]).mean() > 0.8
    known = table["sensor_1"].notna()
    assert np.corrcoef(made["made/sensor_1"][known].astype(float), table["sensor_1"][known])[0, 1] > 0.8


def test_the_error_of_a_row_is_the_mean_over_its_columns():
    made, rows = torch.tensor([[1.0, 0.0, 2.0, 1.0]]), torch.tensor([[3.0, 0.0, 2.0, 0.0]])
    assert row_errors(2, made, rows).tolist() == [pytest.approx((4 + 0 + 0 + 1) / 4)]


def test_settings_of_images_are_refused_for_rows():
    signature = Signature({"numbers": NumbersInput(3), "categories": CategoriesInput((4,))})
    for settings, path in (
        (Autoencoder(family="autoencoder", channels=(4,), code=2), "architecture.channels"),
        (Autoencoder(family="autoencoder", code=7), "architecture.code"),
    ):
        assert [problem.path for problem in misfits(settings, signature)] == [path]
    assert misfits(Autoencoder(family="autoencoder", code=6, hidden=(8,)), signature) == []
