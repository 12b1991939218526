"""Captions of one image stay together, are compared with all of them, and are learnt from the image."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from sacrebleu.metrics.bleu import BLEU

from stoker.datasets.fields.texts.target_text import TargetTextField
from stoker.datasets.loading import load_dataset, read_source
from stoker.datasets.records import Files, Records
from stoker.datasets.samples import Samples
from stoker.datasets.sources.captions import captions, is_clear, sentence
from stoker.datasets.sources.scenes import draw_scene
from stoker.inference.model import Model, save_model
from stoker.inference.prediction import predict
from stoker.job.dataset import Dataset
from stoker.job.task import TASKS
from stoker.tasks.pictures.caption_metrics import CaptionMetrics
from stoker.training.assembly import assemble
from stoker.training.evaluation import measure
from stoker.training.loop import start, train
from stoker.training.preparation import prepare

WORDS = "a\ndog\ncat\nruns\nsleeps"


def with_other_pictures(samples: Samples) -> Samples:
    """Return samples each of which has the image of the one before."""
    before = torch.arange(len(samples)).roll(1)
    inputs = {name: column.rows(before) for name, column in samples.inputs.items()}
    return Samples(inputs, samples.target, samples.weight, samples.ids)


@pytest.fixture(scope="module")
def table(tmp_path_factory) -> Path:
    """40 images in a folder beside the table, with five captions each."""
    folder = tmp_path_factory.mktemp("captions")
    (folder / "images").mkdir()
    rows = []
    for number in range(40):
        Image.new("RGB", (8, 8), (6 * number, 0, 0)).save(folder / "images" / f"{number}.png")
        rows += [{"image": f"{number}.png", "caption": f"picture {number} again {each}"} for each in range(5)]
    pd.DataFrame(rows).to_csv(folder / "captions.csv", index=False)
    return folder / "captions.csv"


def files_of(source: Path, **settings) -> dict[str, set[int]]:
    dataset = Dataset.model_validate({"source": str(source), "columns": {"label": "caption"}, **settings})
    data = load_dataset(dataset, TASKS["image-captioning"])
    records, _ = read_source(dataset)
    return {
        part: {records.columns["image"][row] for row in samples.ids.tolist()} for part, samples in data.parts.items()
    }


def test_captions_of_an_image_stay_in_one_part(table):
    parts = files_of(table)
    assert {part: len(files) for part, files in parts.items()} == {"train": 32, "val": 4, "test": 4}
    assert not parts["train"] & parts["val"] | parts["val"] & parts["test"] | parts["train"] & parts["test"]


def test_validation_taken_from_a_given_training_part_has_images_of_its_own(table, tmp_path):
    frame = pd.read_csv(table)
    (tmp_path / "images").symlink_to(table.parent / "images")
    frame[:150].to_csv(tmp_path / "train.csv", index=False)
    frame[150:].to_csv(tmp_path / "test.csv", index=False)
    parts = files_of(tmp_path, format="csv")
    assert len(parts["test"]) == 10
    assert not parts["train"] & parts["val"]


def test_all_captions_of_an_image_count_as_references(rows):
    target = TargetTextField("y", "words", WORDS, 8, 8)
    metrics, other = CaptionMetrics(target), CaptionMetrics(target)
    images = torch.stack([torch.full((1, 2, 2), float(level)) for level in (0, 1, 0, 1, 1)])
    known = ["a dog runs", "a cat sleeps", "a dog sleeps", "a cat", "a cat runs"]
    written = ["a dog sleeps", "a cat runs a", "a dog sleeps", "a cat runs a", "a cat runs a"]
    tokens = [torch.tensor(np.array(each)) for each in target.tokenizer.encode(written)]
    padded = torch.nn.utils.rnn.pad_sequence(tokens, batch_first=True)
    references = torch.nn.utils.rnn.pad_sequence(
        [torch.tensor(np.array(each)) for each in target.tokenizer.encode(known)], batch_first=True
    )
    output = torch.cat([torch.zeros(5, 1), padded.float()], dim=1)
    for each, part in ((metrics, slice(0, 2)), (other, slice(2, 5))):
        each.update(output[part], rows({"image": images[part]}, references[part]))
    metrics.merge(other.state())
    lists = [["a dog runs", "a cat"], ["a dog sleeps", "a cat runs"], [None, "a cat sleeps"]]
    expected = BLEU().corpus_score(["a dog sleeps", "a cat runs a"], lists).score
    assert metrics.compute() == {"bleu": pytest.approx(expected), "exact_match": 0.5}


def test_the_sentence_of_a_scene_says_how_its_shapes_stand():
    dice = np.random.default_rng(0)
    scenes = [scene for scene in (draw_scene(dice, 48, 2) for _ in range(60)) if is_clear(scene)]
    assert 30 < len(scenes) < 60
    for scene in scenes:
        first, second = scene.objects
        right, down = (b - a for a, b in zip(first.centre, second.centre, strict=True))
        said = sentence(scene)
        assert (" left of " in said) == (abs(right) > abs(down))
        begins_with_first = said.startswith(f"a {first.colour} {first.shape} ")
        assert begins_with_first or said.startswith(f"a {second.colour} {second.shape} ")
        if (first.colour, first.shape) != (second.colour, second.shape):
            assert begins_with_first == ((right if " left of " in said else down) > 0)


@pytest.fixture(scope="module")
def trained(make_job, tiny_data, tmp_path_factory):
    """A captioner of images that are bright at one side."""
    job = make_job(
        "image-captioning",
        tiny_data("image-captioning"),
        architecture={"family": "captioner", "channels": [8], "width": 16, "heads": 2, "layers": 1, "dropout": 0},
        training={
            "epochs": 80,
            "batch_size": 16,
            "precision": "fp32",
            "evaluate": {"every": "80 epochs"},
            "optimizer": {"type": "adamw", "lr": 1e-2},
        },
    )
    assembly = assemble(prepare(job))
    *_, end, _ = train("r", start(assembly))
    folder = tmp_path_factory.mktemp("captioner")
    save_model(folder, assembly.job, assembly.data.fields, assembly.objective, assembly.data.fingerprint)
    return assembly, Model.load(folder), end


def test_captions_are_learnt_from_the_image(trained):
    assembly, _, end = trained
    assert end.metrics["exact_match/val"] > 0.7
    samples = assembly.parts["train"]
    measured = [
        measure(assembly.objective, assembly.task, each, "fp32", 0, expensive_samples=0).metrics["loss"]
        for each in (samples, with_other_pictures(samples))
    ]
    assert measured[0] < 0.5 * measured[1]


def test_predict_writes_a_caption_for_each_picture(trained, tiny_data):
    _, model, _ = trained
    folder = Path(tiny_data("image-captioning")["source"]).parent
    (answers,) = predict(model, str(folder / "*.png"), draw=True)
    sides = ["left" if int(Path(name).stem) % 2 == 0 else "right" for name in answers.table["input"]]
    right = [f"the {side} side" in said for side, said in zip(sides, answers.table["prediction"], strict=True)]
    assert np.mean(right) > 0.9
    assert len(answers.drawn) == len(answers.table)
    single = model.predict(pd.DataFrame({"image": [str(folder / "00.png")]})).table
    assert single["prediction"][0] == answers.table["prediction"][0]


def test_built_in_captions_belong_to_their_pictures():
    records = captions(400)
    assert len(records) == 400
    red = records.columns["caption"].str.match(r"a red .* (left of|above) a red ").to_numpy()
    green = records.columns["caption"].str.match(r"a green .* (left of|above) a green ").to_numpy()
    pixels = records.columns["image"].reshape(len(records), -1, 3).astype(float)
    coloured = pixels[..., 0] - pixels[..., 1]
    assert coloured[red].mean() > 0 > coloured[green].mean()


def test_images_with_texts_beside_them_and_captions_of_coco_are_the_same_data(table, tmp_path):
    beside = tmp_path / "beside"
    beside.mkdir()
    for number in range(40):
        lines = [f"picture {number} again {each}" for each in range(5)]
        (beside / f"{number}.png").write_bytes((table.parent / "images" / f"{number}.png").read_bytes())
        (beside / f"{number}.txt").write_text("\n".join(lines) + "\n")
    found: Records = read_source(Dataset(source=str(beside)))[0]
    frame = pd.read_csv(table)
    assert sorted(found.columns["caption"]) == sorted(frame["caption"])
    assert isinstance(found.columns["image"], Files)
    assert len(set(found.names)) == 40
