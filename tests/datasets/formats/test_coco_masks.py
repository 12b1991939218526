"""Masks drawn from polygons and run lengths of COCO."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from stoker.datasets.loading import load_dataset
from stoker.errors import JobError
from stoker.job.dataset import Dataset
from stoker.job.task import TASKS

SQUARE = [[1, 1, 5, 1, 5, 5, 1, 5]]
RUNS = {"size": [6, 8], "counts": [30, 6, 12]}
"""Column 5, of six pixels."""


def write(folder: Path, outline: Any = None, pictures: int = 10) -> Path:
    (folder / "images").mkdir()
    entries = []
    for number in range(pictures):
        Image.fromarray(np.full((6, 8), 20 * number, np.uint8)).save(folder / "images" / f"{number}.png")
        entries.append({"id": 2 * number, "image_id": number, "category_id": 7, "segmentation": outline or SQUARE})
        crowd = {"id": 2 * number + 1, "image_id": number, "category_id": 3, "segmentation": RUNS, "iscrowd": 1}
        entries.append(crowd)
    content = {
        "images": [{"id": number, "file_name": f"{number}.png"} for number in range(pictures)],
        "annotations": entries,
        "categories": [{"id": 7, "name": "tile"}, {"id": 3, "name": "post"}],
    }
    (folder / "annotations.json").write_text(json.dumps(content))
    return folder


def load(folder: Path, **settings: object) -> Any:
    dataset = Dataset.model_validate({"source": str(folder), "format": "coco-masks", **settings})
    return load_dataset(dataset, TASKS["segmentation"])


def test_outlines_are_drawn_as_classes_with_the_names_of_categories(tmp_path):
    data = load(write(tmp_path))
    assert data.fields.target.output.classes == ("background", "tile", "post")
    expected = np.zeros((6, 8), np.uint8)
    expected[1:5, 1:5] = 1
    expected[:, 5] = 2
    assert data.parts["train"].target.take(torch.arange(1))[0].tolist() == expected.tolist()


@pytest.mark.parametrize("outline", [[[1, 2]], {"size": [6, 8]}, "a square"])
def test_an_outline_that_cannot_be_drawn_is_named(outline, tmp_path):
    with pytest.raises(JobError) as caught:
        load(write(tmp_path, outline, pictures=1))
    (problem,) = caught.value.problems
    assert problem.message.startswith("annotations.json, image 0: annotation 0 has no 'segmentation' that can be drawn")


def test_runs_of_another_size_are_named(tmp_path):
    with pytest.raises(JobError) as caught:
        load(write(tmp_path, {"size": [3, 3], "counts": [9]}, pictures=1))
    (problem,) = caught.value.problems
    assert problem.message == "annotations.json, image 0: annotation 0 is of a picture of [3, 3], this one is 6x8"
