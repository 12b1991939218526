"""Every job file that Stoker ships has an explaining header, makes a plan and trains."""

import json
import shutil
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from stoker.datasets.inspection import inspect
from stoker.job.architecture.choice import FAMILIES
from stoker.job.builtin import BUILTIN
from stoker.job.own_code import CodeJob
from stoker.job.task import TASKS
from stoker.jobfile.loading import dump_job, load_job, parse_job
from stoker.planning.own_code import plan_code
from stoker.planning.run import make_plan
from stoker.training.assembly import assemble
from stoker.training.events import StepEnd
from stoker.training.loop import start, train
from stoker.training.preparation import prepare

JOBS = sorted((Path(__file__).parents[1] / "jobs").rglob("*.yaml"))


JOBS_FOLDER = Path(__file__).parents[1] / "jobs"
OWN_CODE = [path for path in JOBS if isinstance(load_job(path).job, CodeJob)]


@pytest.fixture(autouse=True)
def own_network(monkeypatch):
    """Make the modules next to the job file importable, as in a run."""
    monkeypatch.syspath_prepend(JOBS_FOLDER / "own-code")


@pytest.fixture(scope="module")
def own_data(tmp_path_factory, tiny_model):
    """Small data for the jobs that need the user's own, as the settings that name it."""
    folder = tmp_path_factory.mktemp("own-data")
    rng = np.random.default_rng(0)
    for kind in ("images", "masks"):
        (folder / "nuclei" / kind).mkdir(parents=True)
    for number in range(20):
        mask = np.zeros((48, 48), np.uint8)
        mask[rng.integers(0, 24) :, rng.integers(0, 24) :] = 255
        Image.fromarray(mask).save(folder / "nuclei" / "masks" / f"{number}.png")
        Image.fromarray(mask // 2 + rng.integers(0, 60, mask.shape, np.uint8)).save(
            folder / "nuclei" / "images" / f"{number}.png"
        )
    for number in range(12):
        for kind in ("images", "masks"):
            (folder / "field" / kind).mkdir(parents=True, exist_ok=True)
        plants = rng.integers(0, 3, (40, 56), np.uint8)
        Image.fromarray(plants).save(folder / "field" / "masks" / f"{number}.png")
        Image.fromarray(np.stack([plants * 80] * 3, axis=2)).save(folder / "field" / "images" / f"{number}.png")
    for digit in range(3):
        (folder / "signs" / str(digit)).mkdir(parents=True)
        for number in range(8):
            hand = rng.integers(0, 60, (40, 40, 3), np.uint8) + np.uint8(60 * digit)
            Image.fromarray(hand).save(folder / "signs" / str(digit) / f"{number}.png")
    for name in ("JPEGImages", "Annotations"):
        (folder / "blood-cells" / name).mkdir(parents=True)
    for number in range(20):
        cell = rng.integers(0, 200, (48, 64, 3), np.uint8)
        Image.fromarray(cell).save(folder / "blood-cells" / "JPEGImages" / f"{number}.png")
        box = f"<xmin>{number + 1}</xmin><ymin>5</ymin><xmax>{number + 30}</xmax><ymax>40</ymax>"
        text = f"<annotation><object><name>RBC</name><bndbox>{box}</bndbox></object></annotation>"
        (folder / "blood-cells" / "Annotations" / f"{number}.xml").write_text(text)
    (folder / "photos" / "images").mkdir(parents=True)
    for number in range(40):
        Image.fromarray(rng.integers(0, 255, (40, 50, 3), np.uint8)).save(
            folder / "photos" / "images" / f"{number}.jpg"
        )
    captions = [f"{number}.jpg,a photo of number {number % 7}\n" for number in range(40) for _ in range(2)]
    (folder / "photos" / "train.csv").write_text("image,caption\n" + "".join(captions))
    words = {1: ["dull", "poor", "bad", "slow"], 5: ["great", "fine", "good", "fun"]}
    rows = [
        {"text": " ".join(rng.choice([*words[stars], "the", "film", "was"], 8)), "stars": stars}
        for stars in (1, 5)
        for _ in range(120)
    ]
    (folder / "reviews.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    (folder / "plays.txt").write_text("".join(f"{row['text']}.\n" for row in rows))
    (folder / "sentences").mkdir()
    pairs = {"a": "ein", "dog": "Hund", "man": "Mann", "sees": "sieht", "red": "rot", "no": "kein"}
    for part, count in {"train": 80, "val": 10, "test": 10}.items():
        lines = [rng.choice([*pairs], rng.integers(1, 9)) for _ in range(count)]
        (folder / "sentences" / f"{part}.en").write_text("".join(f"{' '.join(line)}\n" for line in lines))
        translated = (" ".join(pairs[word] for word in line) for line in lines)
        (folder / "sentences" / f"{part}.de").write_text("".join(f"{line}\n" for line in translated))
    (folder / "code").mkdir()
    for file in Path(json.__file__).parent.glob("*.py"):
        shutil.copy(file, folder / "code")
    sentences = [f"dataset.source={folder / 'sentences'}"]
    asked = [
        {"question": f"who has {thing}?", "context": f"{name} has {thing}", "answer": name}
        for name, thing in zip(rng.choice(["Ann", "Bob", "Cem"], 100), rng.choice(["ink", "tea"], 100), strict=True)
    ]
    (folder / "squad").mkdir()
    for part in ("train", "dev"):
        paragraphs = [
            {
                "context": row["context"],
                "qas": [{"question": row["question"], "answers": [{"text": row["answer"], "answer_start": 0}]}],
            }
            for row in asked
        ]
        (folder / "squad" / f"{part}.json").write_text(json.dumps({"data": [{"paragraphs": paragraphs}]}))
    (folder / "news").mkdir()
    for part in ("train", "dev"):
        names = rng.choice(["Ann", "Bob", "Rome"], 40)
        lines = [f"{name}\tB-{'place' if name == 'Rome' else 'person'}\nSmith\tI-person\nleft\tO\n" for name in names]
        (folder / "news" / f"{part}.conll").write_text("\n".join(lines))
    return {
        **dict.fromkeys(("translation-transformer", "translation-rnn"), sentences),
        "nuclei-unet": [f"dataset.source={folder / 'nuclei'}", "dataset.image.size=32", "training.batch_size=4"],
        "crop-weed-unet": [f"dataset.source={folder / 'field'}", "training.batch_size=4"],
        "blood-cells-detection": [f"dataset.source={folder / 'blood-cells'}", "dataset.image.size=[48, 64]"],
        "signs-backbone": [f"dataset.source={folder / 'signs'}", "dataset.image.size=32", "training.batch_size=8"],
        "photos-captions": [f"dataset.source={folder / 'photos'}", "training.batch_size=8"],
        "reviews-minilm": [
            f"dataset.source={folder / 'reviews.jsonl'}",
            f"architecture.model={tiny_model('bert')}",
        ],
        "code-decoder": [f"dataset.source={folder / 'code'}", "dataset.format=text", "dataset.text.vocabulary=512"],
        "answers-minilm": [f"dataset.source={folder / 'squad'}", f"architecture.model={tiny_model('bert')}"],
        "instructions-lora": [f"architecture.model={tiny_model('gpt2')}"],
        "entities-minilm": [f"dataset.source={folder / 'news'}", f"architecture.model={tiny_model('bert')}"],
        "entities-lstm": [f"dataset.source={folder / 'news'}"],
        **{
            key: [f"dataset.source={folder / 'reviews.jsonl'}"]
            for key in ("reviews-lstm", "reviews-transformer", "reviews-blanks")
        },
        **{key: [f"dataset.source={folder / 'plays.txt'}"] for key in ("plays-lstm", "plays-decoder")},
    }


@pytest.mark.parametrize("path", JOBS, ids=lambda path: path.stem)
def test_a_job_opens_with_its_purpose_the_command_and_the_expected_result(path):
    purpose, command, expectation, after = path.read_text().splitlines()[:4]
    assert purpose.startswith("# ")
    assert command.startswith(f"# stoker submit {path.relative_to(JOBS_FOLDER.parent)}")
    assert any(unit in expectation for unit in ("second", "minute"))
    told = any(f"{metric}/" in expectation for row in TASKS.values() for metric in row.metrics)
    assert told or path in OWN_CODE
    assert not after.startswith("#")


@pytest.mark.parametrize("path", OWN_CODE, ids=lambda path: path.stem)
def test_a_job_with_own_code_makes_a_plan(path):
    loaded = load_job(path, inspect=inspect)
    assert isinstance(loaded.job, CodeJob)
    assert plan_code(loaded.job, loaded.code, "a cluster").files >= 1


@pytest.mark.parametrize("path", [path for path in JOBS if path not in OWN_CODE], ids=lambda path: path.stem)
class TestJob:
    def test_makes_a_plan(self, path, own_data):
        plan = make_plan(load_job(path, own_data.get(path.stem, ()), inspect=inspect).job)
        assert plan.parameters > 0
        assert plan.steps > 0
        assert parse_job(dump_job(plan.job), "resolved.yaml").job == plan.job

    def test_trains_for_two_steps(self, path, own_data):
        job = load_job(path, ["training.precision=fp32", *own_data.get(path.stem, ())]).job
        events = list(islice(train("two-steps", start(assemble(prepare(job)))), 2))
        assert all(isinstance(event, StepEnd) for event in events)
        assert all(torch.isfinite(loss) for event in events for loss in event.losses.values())


def test_the_jobs_cover_every_task_family_and_dataset():
    jobs = [load_job(path).job for path in JOBS if path not in OWN_CODE]
    assert {job.task for job in jobs} == set(TASKS)
    assert {job.dataset.source for job in jobs} >= set(BUILTIN)
    assert {job.architecture.family for job in jobs if job.architecture} | {
        TASKS[job.task].families[0] for job in jobs if job.architecture is None
    } == set(FAMILIES)
