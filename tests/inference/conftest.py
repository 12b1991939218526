"""Small trained models, saved and loaded again."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from stoker.execution.packaging import packaged
from stoker.execution.results import write_model
from stoker.inference.model import Model, save_model
from stoker.job.job import Job
from stoker.tracking.run_folder import RunFolder
from stoker.training.assembly import Assembly, assemble
from stoker.training.loop import start, train
from stoker.training.preparation import prepare


@dataclass(frozen=True)
class Trained:
    """A run's end and its model."""

    assembly: Assembly
    model: Model
    source: Path


def trained(job: Job, folder: Path, source: Path) -> Trained:
    assembly = assemble(prepare(job))
    for _ in train("r", start(assembly)):
        pass
    save_model(folder, assembly.job, assembly.data.fields, assembly.objective, assembly.data.fingerprint)
    return Trained(assembly, Model.load(folder), source)


@pytest.fixture(scope="session")
def store() -> Callable[[Assembly, Path], None]:
    """Write the model of a run into `run` of a folder, and as MLflow stores it into `stored`."""

    def write(assembly: Assembly, folder: Path) -> None:
        run = RunFolder(folder / "run")
        run.path.mkdir()
        write_model(run, assembly)
        with packaged(run.model) as arguments:
            mlflow.pyfunc.save_model(folder / "stored", **arguments)

    return write


@pytest.fixture(scope="module")
def flowers(make_job: Callable[..., Job], tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """A classifier of weighted rows with a category and missing values."""
    folder = tmp_path_factory.mktemp("flowers")
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(
        {"length": rng.normal(size=90), "colour": rng.choice(["red", "blue"], 90), "w": rng.random(90)}
    )
    frame["kind"] = np.where(frame["length"] > 0, "rose", "lily")
    frame.loc[::7, "length"] = None
    frame.to_csv(folder / "flowers.csv", index=False)
    columns = {"label": "kind", "weight": "w"}
    job = make_job(
        "tabular-classification",
        {"source": str(folder / "flowers.csv"), "columns": columns},
        training={"epochs": 3, "precision": "fp32"},
    )
    return trained(job, folder / "model", folder / "flowers.csv")


@pytest.fixture(scope="module")
def prices(make_job: Callable[..., Job], tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """A regression on a dataset that comes along."""
    job = make_job("tabular-regression", "diabetes", training={"epochs": 2, "precision": "fp32"})
    return trained(job, tmp_path_factory.mktemp("prices"), Path("diabetes"))


@pytest.fixture(scope="module")
def films(make_job: Callable[..., Job], tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """A model of the tags of rows, which the file says the part of."""
    folder = tmp_path_factory.mktemp("films")
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"length": rng.normal(size=90), "year": rng.normal(size=90)})
    tags = zip(frame["length"] > 0, frame["year"] > 0, strict=True)
    frame["genres"] = ["; ".join(["epic"] * long + ["new"] * recent) for long, recent in tags]
    frame["part"] = ["train"] * 60 + ["val"] * 15 + ["test"] * 15
    frame.to_csv(folder / "films.csv", index=False)
    dataset = {
        "source": str(folder / "films.csv"), "columns": {"label": "genres"}, "split": {"column": "part"},
    }  # fmt: skip
    job = make_job("multi-label-classification", dataset, training={"epochs": 30, "precision": "fp32"})
    return trained(job, folder / "model", folder / "films.csv")


@pytest.fixture(scope="module")
def images(make_job: Callable[..., Job], tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """A classifier of coloured images, dark ones and bright ones."""
    folder = tmp_path_factory.mktemp("images")
    rng = np.random.default_rng(0)
    for name, level in {"dark": 40, "bright": 200}.items():
        (folder / "data" / name).mkdir(parents=True)
        for number in range(20):
            pixels = (level + rng.integers(-30, 30, (8, 8, 3))).astype(np.uint8)
            Image.fromarray(pixels).save(folder / "data" / name / f"{number}.png")
    dataset = {"source": str(folder / "data")}
    network = {"family": "cnn", "channels": [4, 4]}
    job = make_job("image-classification", dataset, architecture=network, training={"epochs": 3, "precision": "fp32"})
    return trained(job, folder / "model", folder / "data")
