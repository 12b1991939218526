"""A stored model takes the columns of a table in any type, and answers as `stoker predict` does."""

import io
import json

import mlflow
import numpy as np
import pandas as pd
import pytest
from mlflow.pyfunc.scoring_server import init
from starlette.testclient import TestClient

from stoker.inference.model import Model
from stoker.training.assembly import assemble
from stoker.training.loop import start, train
from stoker.training.preparation import prepare

ROWS = 80


def written() -> pd.DataFrame:
    draw = np.random.default_rng(0)
    frame = pd.DataFrame({"whole": draw.integers(0, 90, ROWS), "part": draw.normal(size=ROWS).round(3)})
    frame["gaps"] = frame["whole"].where(frame["whole"] % 7 > 0)
    frame["price"] = [f"${1000 * value:,.2f}" for value in draw.random(ROWS)]
    frame["when"] = pd.date_range("2024-01-01", periods=ROWS, freq="9h").astype(str)
    frame["floor"] = draw.integers(1, 4, ROWS)
    frame["open"] = draw.random(ROWS) > 0.5
    frame["colour"] = draw.choice(["red", "blue"], ROWS)
    frame["y"] = np.where((frame["whole"] > 45) ^ frame["open"], "yes", "no")
    return frame


@pytest.fixture(scope="module")
def folder(make_job, tmp_path_factory, store):
    folder = tmp_path_factory.mktemp("types")
    written().to_csv(folder / "rows.csv", index=False)
    dataset = {"source": str(folder / "rows.csv"), "columns": {"label": "y", "types": {"floor": "category"}}}
    training = {"epochs": 3, "precision": "fp32"}
    assembly = assemble(prepare(make_job("tabular-classification", dataset, training=training)))
    for _ in train("r", start(assembly)):
        pass
    store(assembly, folder)
    return folder


@pytest.fixture(scope="module")
def stored(folder):
    return mlflow.pyfunc.load_model(str(folder / "stored"))


@pytest.fixture(scope="module")
def frame(folder):
    return pd.read_csv(folder / "rows.csv")


@pytest.fixture(scope="module")
def expected(folder, frame):
    return Model.load(folder / "run" / "model").predict(frame).table


@pytest.fixture(scope="module")
def server(stored):
    with TestClient(init(stored)) as client:
        yield client


def check(answers: pd.DataFrame, expected: pd.DataFrame) -> None:
    pd.testing.assert_frame_equal(answers.reset_index(drop=True), expected, check_dtype=False, atol=1e-5)


def test_the_training_file_itself_is_taken(stored, frame, expected):
    check(stored.predict(frame), expected)
    check(stored.predict(frame[sorted(frame.columns)]), expected)


@pytest.mark.parametrize(
    ("column", "kind"),
    [
        *(("whole", kind) for kind in ("int8", "int16", "int32", "uint8", "float32", "Int8", "Int64", "Float32")),
        *(("whole", kind) for kind in ("int64[pyarrow]", "double[pyarrow]", "object", "str", "string[pyarrow]")),
        *(("gaps", kind) for kind in ("float32", "Int64", "Float64", "int16[pyarrow]", "object")),
        *(("part", kind) for kind in ("Float64", "double[pyarrow]", "object", "str")),
        *(("floor", kind) for kind in ("int8", "float64", "Int64", "category", "str", "int64[pyarrow]")),
        *(("open", kind) for kind in ("boolean", "object", "str", "bool[pyarrow]", "category")),
        *(("colour", kind) for kind in ("category", "object", "string[pyarrow]", "string[python]")),
        *(("when", kind) for kind in ("datetime64[us]", "datetime64[us, UTC]", "timestamp[us][pyarrow]", "category")),
        *(("price", kind) for kind in ("category", "object", "string[pyarrow]")),
    ],
)
def test_a_column_of_any_type_is_taken(stored, frame, expected, column, kind):
    check(stored.predict(frame.assign(**{column: frame[column].astype(kind)})), expected)


@pytest.mark.parametrize("orient", ["split", "records"])
def test_json_over_http_is_taken(server, frame, expected, orient):
    rows = json.loads(frame.to_json(orient=orient))
    answer = server.post("/invocations", json={f"dataframe_{orient}": rows})
    assert answer.status_code == 200, answer.text
    check(pd.DataFrame(answer.json()["predictions"]), expected)


def test_csv_over_http_is_taken(server, frame, expected):
    content = io.StringIO()
    frame.to_csv(content, index=False)
    answer = server.post("/invocations", content=content.getvalue(), headers={"Content-Type": "text/csv"})
    assert answer.status_code == 200, answer.text
    check(pd.DataFrame(answer.json()["predictions"]), expected)


def test_the_stored_model_names_its_columns_and_has_an_example(folder):
    info = mlflow.models.get_model_info(str(folder / "stored"))
    kinds = {"whole": "number", "price": "number", "when": "time", "floor": "category", "open": "category"}
    assert info.metadata["columns"] == {**kinds, "part": "number", "gaps": "number", "colour": "category"}
    example = mlflow.pyfunc.load_model(str(folder / "stored")).input_example
    assert set(example.columns) == set(info.metadata["columns"])
