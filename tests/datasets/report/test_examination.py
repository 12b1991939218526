"""What `stoker data` finds in tables, sentences and images."""

import json
from pathlib import Path

import pandas as pd
import pytest
from PIL import ExifTags, Image

from stoker.datasets.loading import load_dataset
from stoker.datasets.report.examination import examine, proposed_job
from stoker.job.dataset import Dataset
from stoker.job.task import TASKS
from stoker.jobfile.loading import parse_job


def test_sentences_in_conll_columns_are_tagged(tmp_path: Path):
    (tmp_path / "a.conll").write_text("\n".join(f"Ann B-PER\nsaw O\nRome{number} B-LOC\n" for number in range(20)))
    found = examine(Dataset(source=str(tmp_path / "a.conll")))
    assert (found.task, found.roles.inputs, found.guessed) == ("token-classification", {"words": "words"}, False)
    words, tags = found.report.columns
    assert (words.kind, words.summary) == ("list", "3 to 3 values, median 3, 22 different")
    assert (tags.name, tags.kind) == ("tags", "list")
    job = parse_job(proposed_job(found, str(tmp_path / "a.conll"), "job.yaml"), "job.yaml").job
    assert (job.task, job.dataset.columns.label) == ("token-classification", "tags")


def test_a_table_of_words_and_tags_is_known_by_their_lengths(tmp_path: Path):
    def write(tags: list[list[str]]) -> Dataset:
        rows = [{"tokens": ["a", "b", "c"][: 1 + place % 3], "ner_tags": each} for place, each in enumerate(tags)]
        (tmp_path / "a.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
        return Dataset(source=str(tmp_path / "a.jsonl"))

    found = examine(write([["X", "Y", "O"][: 1 + place % 3] for place in range(20)]))
    assert (found.task, found.roles.target, found.guessed) == ("token-classification", "ner_tags", True)
    other = examine(write([["X", "Y"]] * 20), "multi-label-classification")
    assert other.report.columns[1].kind == "list"


def test_a_table_of_questions_texts_and_answers_is_known_by_its_names(tmp_path: Path):
    rows = [{"question": f"who is {row}?", "context": f"{row} is ann"} for row in range(20)]
    rows = [{**row, "answers": "ann" if number % 3 else None} for number, row in enumerate(rows)]
    (tmp_path / "a.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    found = examine(Dataset(source=str(tmp_path / "a.jsonl")))
    assert (found.task, found.roles.target) == ("question-answering", "answers")
    assert list(found.roles.inputs) == ["question", "context"]


def test_what_is_unusual_of_images_is_said_as_by_a_plan(tmp_path: Path):
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    for number in range(20):
        folder = tmp_path / ("cat", "dog")[number % 2]
        folder.mkdir(exist_ok=True)
        picture = Image.new("RGB", (320, 300), (200, number * 9, 0))
        if number == 5:
            picture.convert("RGBA").save(folder / "5.png")
        else:
            picture.save(folder / f"{number}.jpg", exif=exif if number == 3 else Image.Exif())
    dataset = Dataset(source=str(tmp_path))
    changes = "training images are changed at random (flip, crop, jitter, erase), since they are taken for photos"
    expected = [
        "modes of 20 image files: 19 RGB, 1 RGBA (laid on white)",
        "1 of 20 image files are turned upright, as their EXIF orientation says",
        "the images differ in size, from 300x320 to 320x300 (height x width): resized to 128x128; "
        "dataset.image.size sets another size",
        f"{changes}; dataset.image.augment sets other changes, [] none",
    ]
    assert [note for note in examine(dataset).report.warnings if note in expected] == expected
    assert [note for note in load_dataset(dataset, TASKS["image-classification"]).notes if note in expected] == expected


@pytest.mark.parametrize(
    ("labels", "task"),
    [
        (["a dog leaps over a log", "two cats sleep on a mat"], "image-captioning"),
        (["dog", "cat"], "image-classification"),
    ],
)
def test_a_table_beside_its_images_tells_what_it_is_for(labels: list[str], task: str, tmp_path: Path):
    (tmp_path / "images").mkdir()
    rows = []
    for number in range(12):
        Image.new("RGB", (8, 8), (9 * number, 0, 0)).save(tmp_path / "images" / f"{number}.png")
        rows.append({"image": f"{number}.png", "said": labels[number % 2]})
    pd.DataFrame(rows).to_csv(tmp_path / "train.csv", index=False)
    found = examine(Dataset(source=str(tmp_path)))
    assert (found.task, found.records.label, found.report.samples) == (task, "said", 12)
    job = parse_job(proposed_job(found, str(tmp_path), "job.yaml"), "job.yaml").job
    assert (job.task, job.dataset.columns.label) == (task, "said")
