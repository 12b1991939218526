"""A stored model gives one answer to a picture however it is sent, and `predict` draws into pictures."""

import base64
import functools
import io
import json
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import mlflow
import numpy as np
import pandas as pd
import pytest
from mlflow.pyfunc.scoring_server import init
from PIL import Image
from starlette.testclient import TestClient

from stoker.errors import JobError
from stoker.inference.model import concatenated
from stoker.inference.output import write_folder
from stoker.inference.pictures import MOST_BYTES
from stoker.inference.prediction import predict


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Two pictures of another size than the model's, and what must not be read."""
    folder = tmp_path_factory.mktemp("asked")
    rng = np.random.default_rng(1)
    for name, level in {"dark": 50, "bright": 180}.items():
        pixels = (level + rng.integers(-30, 30, (20, 30, 3))).astype(np.uint8)
        Image.fromarray(pixels).save(folder / f"{name}.png")
    (folder / "secret.txt").write_text("a secret")
    return folder


@pytest.fixture(scope="module")
def web(folder):
    class Handler(SimpleHTTPRequestHandler):
        def do_GET(self):
            if self.path.startswith("/to/"):
                self.send_response(302)
                self.send_header("Location", self.path.removeprefix("/to/"))
                self.end_headers()
            else:
                super().do_GET()

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture(scope="module")
def stored(images, store, tmp_path_factory):
    folder = tmp_path_factory.mktemp("stored")
    store(images.assembly, folder)
    return mlflow.pyfunc.load_model(str(folder / "stored"))


NAMES = ("dark.png", "bright.png")


@pytest.fixture(scope="module")
def expected(images, folder):
    found = [concatenated(list(predict(images.model, str(folder / name)))).table for name in NAMES]
    return pd.concat(found, ignore_index=True).drop(columns="input")


def check(answer, expected) -> None:
    pd.testing.assert_frame_equal(pd.DataFrame(answer), expected, check_dtype=False, atol=1e-5)


def test_a_picture_has_one_answer_however_it_is_sent(stored, folder, web, expected):
    contents = [(folder / name).read_bytes() for name in NAMES]
    texts = [base64.b64encode(content).decode() for content in contents]
    fitted = [np.asarray(Image.open(folder / name).resize((8, 8))) for name in NAMES]
    ways = {
        "bytes": contents,
        "base64": texts,
        "data addresses": [f"data:image/png;base64,{text}" for text in texts],
        "paths": [str(folder / name) for name in NAMES],
        "addresses": [f"{web}/{name}" for name in NAMES],
        "redirected": [f"{web}/to/{web}/{name}" for name in NAMES],
        "one of each": [contents[0], f"{web}/{NAMES[1]}"],
        "pixels and a file": [fitted[0], contents[1]],
        "pixels": fitted,
    }
    for cells in ways.values():
        check(stored.predict(pd.DataFrame({"image": pd.Series(cells, dtype=object)})), expected)
    for cells in (contents, texts, fitted):
        check(stored.predict(cells), expected)
    check(stored.predict(np.stack(fitted)), expected)
    check(stored.predict(np.stack(fitted).astype(np.int64)), expected)
    check(stored.predict(texts[0]), expected[:1])


def test_pictures_are_taken_as_json(stored, folder, web, expected):
    texts = [base64.b64encode((folder / name).read_bytes()).decode() for name in NAMES]
    pixels = [np.asarray(Image.open(folder / name).resize((8, 8))).tolist() for name in NAMES]
    addresses = [f"{web}/{name}" for name in NAMES]
    with TestClient(init(stored)) as client:
        for content in (
            {"inputs": texts},
            {"inputs": pixels},
            {"inputs": addresses},
            {"inputs": {"image": texts}},
            {"instances": texts},
            {"dataframe_split": {"columns": ["image"], "data": [[text] for text in texts]}},
            {"dataframe_records": [{"image": text} for text in addresses]},
        ):
            answer = client.post("/invocations", json=content)
            assert answer.status_code == 200, answer.text
            check(answer.json()["predictions"], expected)
        refused = client.post("/invocations", json={"inputs": [(folder / "secret.txt").as_uri()]})
        assert refused.status_code == 400
        assert "file:// is not fetched; send an http or https address" in json.dumps(refused.json())


@pytest.mark.parametrize(
    ("cell", "message"),
    [
        ("file:///etc/hostname", "row 1, column 'image': file:// is not fetched; send an http"),
        ("ftp://host/a.png", "ftp:// is not fetched"),
        ("{folder}/secret.txt", "is neither base64 text nor the path or address of a picture"),
        ("{folder}/nothing.png", "there is no file '.*nothing.png' here; send its content as base64 text"),
        ("{web}/nothing.png", "cannot fetch '.*nothing.png': .*File not found"),
        ("{web}/secret.txt", "cannot read .*secret.txt \\(not an image\\)"),
        ("{web}/to/file:///etc/hostname", "cannot fetch"),
        ("{web}/to/http://169.254.169.254/a.png", "169.254.169.254 is an address of the network itself"),
        ("http://169.254.169.254/a.png", "169.254.169.254 is an address of the network itself"),
        ("http://", "is no http or https address"),
        (b"no picture", "cannot read row 1, column 'image' \\(not an image\\)"),
    ],
)
def test_what_is_no_picture_is_refused(images, folder, web, cell, message):
    cell = cell.format(folder=folder, web=web) if isinstance(cell, str) else cell
    with pytest.raises(JobError, match=message):
        images.model.predict(pd.DataFrame({"image": [cell]}))


def test_a_download_is_limited(images, folder, web):
    with (folder / "endless.png").open("wb") as file:
        file.truncate(MOST_BYTES + 1)
    with pytest.raises(JobError, match=r"cannot fetch '.*endless\.png': it is larger than 50 MB"):
        images.model.predict(pd.DataFrame({"image": [f"{web}/endless.png"]}))


def test_each_frame_of_an_animation_is_predicted_and_drawn(images, folder, tmp_path):
    clip = [Image.open(folder / name).convert("P", palette=Image.Palette.ADAPTIVE) for name in NAMES]
    clip[0].save(tmp_path / "clip.gif", save_all=True, append_images=[clip[1], clip[0]], duration=40)
    answers = list(predict(images.model, str(tmp_path / "clip.gif"), draw=True))
    table = concatenated(answers).table
    assert table["input"].tolist() == [str(tmp_path / f"clip-{n:04d}.gif") for n in range(3)]
    assert table["prediction"][0] == table["prediction"][2]
    write_folder(answers, tmp_path / "out", images.model.task)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["annotated", "predictions.csv"]
    drawn = sorted((tmp_path / "out" / "annotated").iterdir())
    assert [path.name for path in drawn] == [f"clip-{n:04d}.png" for n in range(3)]
    with Image.open(drawn[0]) as picture:
        width, height = picture.size
        assert (width, height > 120) == (30 * 6, True)  # enlarged, with a line below
        below = np.asarray(picture.crop((0, 120, width, height)).convert("L"))
    assert (below.min() < 100, below.max()) == (True, 255)


def test_bytes_of_a_broken_picture_are_not_repeated_in_the_error(images):
    content = io.BytesIO()
    Image.new("RGB", (8, 8)).save(content, "PNG")
    with pytest.raises(JobError, match="cannot read row 1") as caught:
        images.model.predict(pd.DataFrame({"image": [content.getvalue()[:40]]}))
    assert len(str(caught.value)) < 300
