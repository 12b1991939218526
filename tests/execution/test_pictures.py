"""Sheets of pictures as image files."""

import io

import numpy as np
import pytest
from PIL import Image

from stoker.execution.pictures import LARGE, LINE, draw
from stoker.execution.results import draw_result, drawn_sheet
from stoker.tasks.sheet import Picture, Sheet
from stoker.tracking.run_folder import RunFolder
from stoker.training.assembly import assemble
from stoker.training.loop import start, train
from stoker.training.preparation import prepare


def grey(level: int, height: int = 8, width: int = 8, channels: int = 1) -> np.ndarray:
    return np.full((height, width, channels), level, np.uint8)


def drawn(sheet: Sheet) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(draw(sheet))).convert("RGB"))


def test_small_images_are_enlarged_by_an_integer_in_rows_of_eight():
    levels = [10 * number for number in range(1, 11)]
    sheet = Sheet("generated", tuple(Picture((grey(level),)) for level in levels))
    pixels = drawn(sheet)
    assert sheet.columns == 8
    assert [int((pixels[..., 0] == level).sum()) for level in levels] == [128 * 128] * 10
    rows = [np.flatnonzero((pixels[..., 0] == level).any(axis=1)) for level in levels]
    assert rows[0][0] == rows[7][0] < rows[0][-1] < rows[8][0] == rows[9][0]


def test_images_of_a_picture_are_side_by_side_in_colour_below_their_names():
    red = grey(0, channels=3)
    red[..., 0] = 200
    triples = tuple(Picture((red, grey(90), grey(120)), "dice 0.5") for _ in range(3))
    sheet = Sheet("predicted", triples, images=("image", "truth", "prediction"))
    pixels = drawn(sheet)
    assert sheet.columns == 2
    columns = [np.flatnonzero((pixels[70] == colour).all(axis=1)) for colour in ([200, 0, 0], [90] * 3, [120] * 3)]
    assert [len(each) for each in columns] == [256, 256, 256]
    assert columns[0][0] < columns[1][0] < columns[2][0]
    assert (pixels[: LINE + 6, 6:] < 100).any()  # the names
    assert drawn(Sheet("predicted", triples)).shape[0] == pixels.shape[0] - LINE


def test_large_images_are_reduced_and_long_captions_shortened():
    picture = Picture((grey(50, 400, 300),), "x" * 500, wrong=True)
    pixels = drawn(Sheet("worst", (picture,)))
    assert int((pixels[..., 0] == 50).sum()) == LARGE * round(LARGE * 3 / 4)
    assert pixels.shape[1] < 200
    assert ((pixels[..., 0] > 150) & (pixels[..., 1] < 80)).any()  # red


@pytest.mark.parametrize("rows", [(), ("zero", "one")])
def test_rows_have_their_names_on_the_left(rows):
    pixels = drawn(Sheet("generated", tuple(Picture((grey(50),)) for _ in range(16)), rows))
    left = np.flatnonzero((pixels[..., 0] == 50).any(axis=0))[0]
    assert (left > 20) == bool(rows)


def test_the_same_sheet_is_the_same_file():
    sheet = Sheet("predicted", (Picture((grey(50), grey(60)), "a\nb"),))
    assert draw(sheet) == draw(sheet)


def test_a_film_shows_what_was_made_of_the_same_noise_over_the_epochs(tiny_data, make_job, tmp_path):
    network = {"family": "gan", "channels": [4], "latent": 5}
    training = {"epochs": 1, "batch_size": 20, "precision": "fp32"}
    job = make_job("image-generation", tiny_data("image-generation"), architecture=network, training=training)
    assembly, folder = assemble(prepare(job)), RunFolder(tmp_path)
    folder.pictures.mkdir()
    name, first, _ = drawn_sheet(assembly) or ("", b"", "")
    draw_result(folder, assembly)
    assert not (folder.artifacts / f"{name}.gif").exists()  # nothing moves yet
    (folder.pictures / f"{name}-000000000001.png").write_bytes(first)
    for _ in train("r", start(assembly)):
        pass
    draw_result(folder, assembly)
    film = Image.open(folder.artifacts / f"{name}.gif")
    assert film.n_frames == 2
    frame = np.asarray(film.convert("RGB"))
    assert frame.shape == np.asarray(Image.open(io.BytesIO(first)).convert("RGB")).shape
