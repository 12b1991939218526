import functools
import gzip
import shutil
import threading
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from stoker.datasets.feeding.batches import ordered_batches
from stoker.errors import JobError, NotFound
from stoker.inference.model import Model, concatenated
from stoker.inference.prediction import predict


def table_of(model: Model, source: str) -> pd.DataFrame:
    return concatenated(list(predict(model, source))).table


def outputs(network: torch.nn.Module, fields, samples) -> torch.Tensor:
    with torch.inference_mode():
        return torch.cat([network(batch.inputs) for batch in ordered_batches(samples, fields, 64)])


@pytest.mark.parametrize("name", ["flowers", "prices", "images", "films"])
def test_a_loaded_model_predicts_what_the_trained_one_did(name: str, request: pytest.FixtureRequest):
    run = request.getfixturevalue(name)
    network = run.assembly.objective.network.eval()
    for samples in run.assembly.parts.values():
        expected = outputs(network, run.assembly.data.fields, samples)
        torch.testing.assert_close(
            outputs(run.model.network, run.model.fields, samples), expected, atol=1e-6, rtol=1e-5
        )


def test_a_model_is_nothing_but_data(flowers):
    names = {file.name for file in (flowers.source.parent / "model").iterdir()}
    assert names == {"weights.safetensors", "fields.json", "signature.json", "job.json", "data.json"}
    assert flowers.model.job == flowers.assembly.job
    assert flowers.model.fields == flowers.assembly.data.fields


def test_rows_are_predicted_without_a_label(flowers, tmp_path: Path):
    frame = pd.read_csv(flowers.source)
    expected = table_of(flowers.model, str(flowers.source))
    frame.drop(columns=["kind", "w"]).to_csv(tmp_path / "new.csv", index=False)
    table = table_of(flowers.model, str(tmp_path / "new.csv"))
    assert list(table.columns) == ["prediction", "probability/lily", "probability/rose", "length", "colour"]
    assert table["prediction"].tolist() == expected["prediction"].tolist()
    assert len(table) == 90
    frame.to_parquet(tmp_path / "new.parquet")
    assert table_of(flowers.model, str(tmp_path / "new.parquet"))["prediction"].tolist() == table["prediction"].tolist()


def test_tags_are_predicted_as_one_text_and_a_probability_each(films):
    new = pd.DataFrame({"length": [2.0, 2.0, -2.0], "year": [2.0, -2.0, -2.0]})
    table = films.model.predict(new).table
    assert list(table.columns) == ["prediction", "probability/epic", "probability/new"]
    assert table["prediction"].tolist() == ["epic; new", "epic", ""]
    chances = table[["probability/epic", "probability/new"]].to_numpy()
    assert ((chances > 0.5) == [[True, True], [True, False], [False, False]]).all()


def test_a_column_of_the_input_does_not_hide_a_prediction(flowers, tmp_path: Path):
    pd.read_csv(flowers.source).assign(prediction="?").to_csv(tmp_path / "new.csv", index=False)
    table = table_of(flowers.model, str(tmp_path / "new.csv"))
    assert table.columns.is_unique
    assert set(table["input/prediction"]) == {"?"}


def test_unknown_and_missing_values_are_predicted(flowers):
    frame = pd.DataFrame({"colour": ["violet", None], "length": [None, 1e30]})
    table = flowers.model.predict(frame).table
    assert table[["probability/lily", "probability/rose"]].sum(axis=1).tolist() == pytest.approx([1, 1])


def test_values_that_count_as_missing_although_something_stands_there_are_told(flowers, tmp_path: Path):
    rows = ["length,colour", "1.5,red", "big,red", "?,green", ",mauve", "2.5,red", "small,"]
    (tmp_path / "new.csv").write_text("\n".join(rows))
    told: list[str] = []
    assert len(concatenated(list(predict(flowers.model, str(tmp_path / "new.csv"), tell=told.append))).table) == 6
    known = flowers.model.fields.inputs[1].values
    unknown = [name for name in ("red", "green", "mauve") if name not in known]
    assert told[0] == "column 'length': 2 cells from row 2 on count as missing, since 'big', 'small' are no numbers"
    assert all(f"'{name}'" in told[1] for name in unknown)
    assert told[1].endswith("not known from training")


def test_an_array_stands_for_a_table_of_the_features(prices):
    columns = list(prices.model.fields.columns)
    frame = pd.DataFrame(np.random.default_rng(0).normal(size=(3, len(columns))), columns=columns)
    assert prices.model.predict(frame.to_numpy()).table.equals(prices.model.predict(frame).table)
    with pytest.raises(JobError, match=r"^an array of 3 x 2; expected a column for each of age, "):
        prices.model.predict(np.zeros((3, 2)))


def test_a_missing_feature_is_told(flowers, tmp_path: Path):
    (tmp_path / "new.csv").write_text("colour,size\nred,1\n")
    with pytest.raises(JobError) as caught:
        table_of(flowers.model, str(tmp_path / "new.csv"))
    assert [(problem.path, problem.message) for problem in caught.value.problems] == [
        ("", "the input lacks the columns length (it has: colour, size)")
    ]


def test_a_table_without_rows_is_told(flowers, tmp_path: Path):
    (tmp_path / "new.csv").write_text("colour,length\n")
    with pytest.raises(JobError, match=r"^no samples to predict$"):
        table_of(flowers.model, str(tmp_path / "new.csv"))


def test_images_are_predicted_one_by_one_by_pattern_and_by_folder(images):
    folder = images.source
    everything = table_of(images.model, str(folder))
    assert list(everything.columns[:2]) == ["input", "prediction"]
    assert len(everything) == 40
    dark = table_of(images.model, str(folder / "dark" / "*.png"))
    assert dark["input"].tolist() == sorted(str(file) for file in (folder / "dark").iterdir())
    one = table_of(images.model, str(folder / "dark" / "0.png"))
    expected = everything[everything["input"] == str(folder / "dark" / "0.png")]
    assert one["probability/dark"].tolist() == pytest.approx(expected["probability/dark"].tolist(), abs=1e-6)


def test_images_of_another_size_and_colour_are_fitted(images, tmp_path: Path):
    Image.new("L", (30, 20), 220).save(tmp_path / "grey.png")
    assert len(table_of(images.model, str(tmp_path / "grey.png"))) == 1


@pytest.fixture
def served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A web server of a folder, by its URL."""
    monkeypatch.setenv("STOKER_CACHE", str(tmp_path / "cache"))
    handler = functools.partial(SimpleHTTPRequestHandler, directory=str(tmp_path))
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


def test_what_is_predicted_may_be_remote(images, flowers, served: str, tmp_path: Path):
    shutil.copy(images.source / "dark" / "0.png", tmp_path / "new.png")
    shutil.copy(flowers.source, tmp_path / "new.csv")
    assert table_of(images.model, f"{served}/new.png")["input"].tolist() == ["new.png"]
    assert len(table_of(flowers.model, f"{served}/new.csv")) == 90
    with pytest.raises(JobError, match=r"there is no '.*/no\.csv' \(404"):
        table_of(flowers.model, f"{served}/no.csv")


def test_idx_images_are_predicted_without_labels(images, tmp_path: Path):
    content = bytes([0, 0, 8, 3]) + b"".join(n.to_bytes(4, "big") for n in (2, 5, 5)) + bytes(50)
    (tmp_path / "images-idx3-ubyte.gz").write_bytes(gzip.compress(content))
    for source in (tmp_path, tmp_path / "images-idx3-ubyte.gz"):
        assert len(table_of(images.model, str(source))) == 2


def test_a_dataset_that_comes_along_is_predicted(prices, images):
    assert len(table_of(prices.model, "diabetes")) == 442
    assert len(table_of(images.model, "digits")) == 1797


def test_a_table_of_paths_is_a_table_of_images(images, tmp_path: Path):
    files = sorted((images.source / "dark").iterdir())[:3]
    pd.DataFrame({"image": [file.name for file in files], "place": [1, 2, 3]}).to_csv(
        images.source / "dark" / "some.csv", index=False
    )
    try:
        table = table_of(images.model, str(images.source / "dark" / "some.csv"))
    finally:
        (images.source / "dark" / "some.csv").unlink()
    assert table["place"].tolist() == [1, 2, 3]
    assert (
        table["prediction"].tolist() == table_of(images.model, str(images.source / "dark"))["prediction"].tolist()[:3]
    )


def test_images_of_another_shape_are_told(images):
    with pytest.raises(JobError) as caught:
        images.model.predict(np.zeros((1, 9, 9, 3), np.uint8))
    assert str(caught.value) == "the model takes images of 8 x 8 x 3 (height, width, channels), not 9 x 9 x 3"


@pytest.mark.parametrize(
    ("name", "source", "error", "message"),
    [
        ("flowers", "nowhere.csv", NotFound, "no file or folder 'nowhere.csv'"),
        ("images", "nowhere/*.png", NotFound, "no file matches 'nowhere/*.png'"),
        ("images", "flowers", JobError, "the input lacks the columns image (it has: length, colour, w, kind)"),
        ("images", "empty", JobError, "no images in '{source}'"),
        ("images", "broken", JobError, "dataset.source: cannot read {source} (not an image); repair or remove it"),
    ],
)
def test_what_cannot_be_predicted_is_told(name, source, error, message, request, tmp_path: Path):
    if source == "flowers":
        source = str(request.getfixturevalue("flowers").source)
    elif source == "empty":
        source = str(tmp_path)
    elif source == "broken":
        source = str(tmp_path / "broken.png")
        Path(source).write_bytes(b"no image")
    with pytest.raises(error) as caught:
        table_of(request.getfixturevalue(name).model, source)
    assert str(caught.value) == message.format(source=source)
