"""Class weights: named or balanced, exact over micro-batches and workers, and only in the loss."""

import io
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from torch.nn import functional

from stoker.datasets.feeding.batches import ordered_batches
from stoker.errors import JobError
from stoker.inference.evaluation import evaluate
from stoker.inference.model import Model, save_model
from stoker.job.dataset import Split
from stoker.job.job import Job
from stoker.job.task import TASKS
from stoker.training.assembly import assemble
from stoker.training.evaluation import evaluate as evaluate_in_training
from stoker.training.events import StepEnd
from stoker.training.loop import start, train
from stoker.training.parallel import Workers
from stoker.training.preparation import prepare

ROWS = 60
pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def rare(make_job, tmp_path: Path) -> Callable[..., Job]:
    """Return a function that builds a job on a table of 48 rows of ham and 12 of spam."""
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"x": rng.normal(size=ROWS), "z": rng.normal(size=ROWS)})
    frame["y"] = ["spam" if number % 5 == 0 else "ham" for number in range(ROWS)]
    frame.to_csv(tmp_path / "mails.csv", index=False)

    def make(split: Any = "none", **training: Any) -> Job:
        settings = {"optimizer": {"type": "sgd", "lr": 1.0, "momentum": 0.0}, "precision": "fp32", "batch_size": 48}
        dataset = {"source": str(tmp_path / "mails.csv"), "columns": {"label": "y"}, "split": split}
        training = {"schedule": "constant", "epochs": 1, **settings, **training}
        return make_job("tabular-classification", dataset, architecture="perceptron", training=training)

    return make


def problems(job: Job) -> list[tuple[str, str]]:
    with pytest.raises(JobError) as caught:
        prepare(job)
    return [(problem.path, problem.message) for problem in caught.value.problems]


def test_balanced_classes_of_the_training_part_weigh_the_same(rare):
    weights = prepare(rare(class_weights="balanced")).job.training.class_weights
    assert weights == {"ham": pytest.approx(60 / (2 * 48)), "spam": pytest.approx(60 / (2 * 12))}
    data = prepare(
        rare({"train": 0.5, "val": 0.25, "test": 0.25, "stratify": False}, class_weights="balanced", batch_size=16)
    )
    counts = data.data.counts["train"]
    assert counts != {"ham": 24, "spam": 6}
    assert data.job.training.class_weights == {name: pytest.approx(30 / (2 * count)) for name, count in counts.items()}


def test_classes_that_are_not_named_weigh_1_and_all_are_written_out(rare):
    prepared = prepare(rare(class_weights={"spam": 5}))
    assert prepared.job.training.class_weights == {"ham": 1.0, "spam": 5.0}
    assert prepare(prepared.job).job == prepared.job
    assert prepare(rare()).job.training.class_weights is None


def test_an_unknown_class_is_reported(rare):
    assert problems(rare(class_weights={"spm": 5, "other": 1})) == [
        ("training.class_weights.spm", "'spm' is not a class of the data; did you mean 'spam'?"),
        ("training.class_weights.other", "'other' is not a class of the data; the classes are ham, spam"),
    ]


def test_a_users_own_objective_has_no_class_weights(make_job, probe):
    job = probe("char_rnn")
    training = job.training.model_copy(update={"class_weights": {"a": 2.0}, "label_smoothing": 0.1})
    assert [path for path, _ in problems(job.model_copy(update={"training": training}))] == [
        "training.class_weights",
        "training.label_smoothing",
    ]


def test_only_samples_that_are_one_image_each_can_be_mixed(make_job, tmp_path: Path):
    Image.new("L", (4, 4)).save(tmp_path / "a.png")
    frame = pd.DataFrame({"photo": ["a.png"] * 20, "size": [0.5, 2, 7, 1] * 5, "y": ["a", "b"] * 10})
    frame.to_csv(tmp_path / "t.csv", index=False)
    dataset = {"source": str(tmp_path / "t.csv"), "columns": {"label": "y"}}
    training = {"mixup": 0.2, "cutmix": 1.0, "batch_size": 8}
    message = "mixes images, and a sample of this data is not one image alone; leave it out"
    job = make_job("multi-label-classification", dataset, architecture="mlp", training=training)
    assert problems(job) == [("training.mixup", message), ("training.cutmix", message)]
    images = {**dataset, "columns": {"label": "y", "features": ["photo"]}}
    prepare(make_job("multi-label-classification", images, architecture="mlp", training=training))


def test_tags_of_images_are_weighed_and_mixed(make_job):
    training = {"class_weights": "balanced", "mixup": 0.2, "cutmix": 1.0, "precision": "fp32", "batch_size": 64}
    network = {"family": "cnn", "channels": [4]}
    found = []
    for micro_batch in (64, 9):
        settings = {**training, "steps": 2, "micro_batch": micro_batch}
        job = make_job("multi-label-classification", "digit-pairs", architecture=network, training=settings)
        prepared = prepare(job)
        weights = prepared.job.training.class_weights
        assert isinstance(weights, dict)
        assert all(2 < weight < 10 for weight in weights.values())  # a digit is in about a fifth of the pairs
        events = list(train("r", start(assemble(prepared))))
        found.append([float(event.losses["loss"]) for event in events if isinstance(event, StepEnd)])
    assert found[1] == pytest.approx(found[0], abs=1e-5)


def test_pixels_of_a_class_are_counted_for_its_balance(make_job, tmp_path: Path):
    for kind in ("images", "masks"):
        (tmp_path / kind).mkdir()
    for number in range(10):
        mask = np.zeros((4, 5), np.uint8)
        mask[0, : number % 3 + 1] = 255
        Image.fromarray(mask).save(tmp_path / "masks" / f"{number}.png")
        Image.fromarray(mask // 2).save(tmp_path / "images" / f"{number}.png")
    found = []
    for loading in ("resident", "loaded"):
        dataset = {"source": str(tmp_path), "format": "image-mask", "loading": loading, "split": "none"}
        training = {"class_weights": "balanced", "batch_size": 2}
        found.append(prepare(make_job("segmentation", dataset, training=training)).job.training.class_weights)
    white = sum(number % 3 + 1 for number in range(10))
    assert found == [{"0": pytest.approx(200 / (2 * (200 - white))), "255": pytest.approx(200 / (2 * white))}] * 2


def test_words_of_a_tag_are_counted_for_its_balance_without_padding(make_job, tmp_path: Path):
    (tmp_path / "a.conll").write_text("Ann B-PER\nsaw O\nit O\n\nRome O\n")
    dataset = {"source": str(tmp_path / "a.conll"), "split": "none"}
    training = {"class_weights": "balanced", "batch_size": 2}
    weights = prepare(make_job("token-classification", dataset, training=training)).job.training.class_weights
    assert weights == {"O": pytest.approx(4 / (2 * 3)), "B-PER": pytest.approx(4 / (2 * 1))}


@pytest.fixture
def films(make_job, tmp_path: Path) -> Callable[..., Job]:
    """Return a function that builds a job on a table of 8 films, of which 6 are a drama, 2 are war and none is long."""
    tags = ["drama", "drama", "drama", "drama;war", "drama;war", "drama", "", ""]
    pd.DataFrame({"x": range(8), "y": tags}).to_csv(tmp_path / "films.csv", index=False)

    def make(**training: Any) -> Job:
        columns = {"label": "y", "features": ["x"], "classes": ["drama", "war", "long"]}
        dataset = {"source": str(tmp_path / "films.csv"), "columns": columns, "split": "none"}
        settings = {"optimizer": {"type": "sgd", "lr": 1.0, "momentum": 0.0}, "schedule": "constant", "batch_size": 8}
        training = {"epochs": 1, "precision": "fp32", **settings, **training}
        return make_job("multi-label-classification", dataset, architecture="perceptron", training=training)

    return make


def test_a_balanced_tag_weighs_the_same_in_samples_with_and_without_it(films):
    weights = prepare(films(class_weights="balanced")).job.training.class_weights
    assert weights == {"drama": pytest.approx(2 / 6), "war": pytest.approx(6 / 2), "long": 8}
    assert prepare(films(class_weights={"war": 5})).job.training.class_weights == {"drama": 1, "war": 5, "long": 1}
    assert problems(films(class_weights={"wars": 5})) == [
        ("training.class_weights.wars", "'wars' is not a tag of the data; did you mean 'war'?")
    ]


def test_weighted_tags_have_the_gradient_of_torchs_mean_for_any_micro_batches_and_workers(films, in_workers):
    settings = {"class_weights": {"war": 5, "drama": 0.5}}
    assembly = assemble(prepare(films(**settings)))
    (batch,) = ordered_batches(assembly.parts["train"], assembly.data.fields, 8)
    network = assembly.objective.network
    loss = torch.nn.BCEWithLogitsLoss(pos_weight=torch.tensor([0.5, 5.0, 1.0]))
    parameters = dict(network.named_parameters())
    gradients = torch.autograd.grad(loss(network(batch.inputs), batch.target.float()), list(parameters.values()))
    expected = {name: value - step for (name, value), step in zip(parameters.items(), gradients, strict=True)}

    def trained(workers: Workers | None, **more: Any) -> dict[str, torch.Tensor]:
        prepared = prepare(films(**settings, **more))
        assembly = assemble(prepared) if workers is None else assemble(prepared, workers)
        list(train("r", start(assembly)))
        return {name: value.detach() for name, value in assembly.objective.network.named_parameters()}

    for weights_after in [trained(None), trained(None, micro_batch=3), *in_workers(2, trained)]:
        for name, value in expected.items():
            torch.testing.assert_close(weights_after[name], value.detach(), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize(
    ("task", "family"),
    [
        (task, family)
        for task, row in TASKS.items()
        if "class_weights" in row.loss_settings
        for family in row.families
        if family in ("rnn", "pretrained")
    ],
)
def test_families_of_texts_learn_with_balanced_classes_on_two_workers_as_on_one(task, family, tiny, in_workers):
    settings = {"optimizer": {"type": "sgd", "lr": 0.5, "momentum": 0.0}, "epochs": None, "steps": 2}
    job = tiny(task, family, dropout=False, class_weights="balanced", **settings)
    if isinstance(job.dataset.split, Split):  # its classes are equally frequent otherwise
        split = job.dataset.split.model_copy(update={"stratify": False})
        job = job.model_copy(update={"dataset": job.dataset.model_copy(update={"split": split})})
    unweighed = job.model_copy(update={"training": job.training.model_copy(update={"class_weights": None})})
    prepared, plain = prepare(job), prepare(unweighed)
    assert len({*prepared.job.training.class_weights.values()}) > 1

    def trained(workers: Workers | None, what: Any = prepared) -> dict[str, torch.Tensor]:
        assembly = assemble(what) if workers is None else assemble(what, workers)
        list(train("r", start(assembly)))
        return {name: value.detach() for name, value in assembly.objective.network.named_parameters()}

    alone = trained(None)
    for theirs in in_workers(2, trained):
        for name, value in alone.items():
            torch.testing.assert_close(theirs[name], value, atol=2e-5, rtol=1e-4)
    unweighted = trained(None, plain)
    assert any(not torch.allclose(unweighted[name], value, atol=1e-4) for name, value in alone.items())


def test_streamed_classes_are_counted_in_the_first_shard(make_job, tmp_path: Path):
    for number, classes in enumerate(["aaab", "abbb", "ab"]):
        with tarfile.open(tmp_path / f"{'train' if number < 2 else 'val'}-{number}.tar", "w") as archive:
            for place, name in enumerate(classes):
                picture = io.BytesIO()
                Image.new("L", (8, 8), 50 * place).save(picture, "png")
                for extension, content in {"png": picture.getvalue(), "cls": name.encode()}.items():
                    entry = tarfile.TarInfo(f"{number}{place}.{extension}")
                    entry.size = len(content)
                    archive.addfile(entry, io.BytesIO(content))
    dataset = {"source": str(tmp_path), "loading": "streaming", "split": {"test": 0}}
    prepared = prepare(make_job("image-classification", dataset, training={"class_weights": "balanced"}))
    assert prepared.job.training.class_weights == {"a": pytest.approx(4 / (2 * 3)), "b": pytest.approx(4 / (2 * 1))}


def test_the_gradient_is_that_of_torchs_weighted_mean_for_any_micro_batches(rare, in_workers):
    settings = {"class_weights": {"spam": 5, "ham": 0.5}, "label_smoothing": 0.1, "batch_size": 60}
    assembly = assemble(prepare(rare(**settings)))
    (batch,) = ordered_batches(assembly.parts["train"], assembly.data.fields, ROWS)
    network = assembly.objective.network
    weights = torch.tensor([0.5, 5.0])[batch.target]
    losses = functional.cross_entropy(network(batch.inputs), batch.target, reduction="none", label_smoothing=0.1)
    mean = (losses * weights).sum() / weights.sum()
    parameters = dict(network.named_parameters())
    gradients = torch.autograd.grad(mean, list(parameters.values()))
    expected = {name: value - step for (name, value), step in zip(parameters.items(), gradients, strict=True)}

    def trained(workers: Workers | None, **more: Any) -> dict[str, torch.Tensor]:
        prepared = prepare(rare(**settings, **more))
        assembly = assemble(prepared) if workers is None else assemble(prepared, workers)
        list(train("r", start(assembly)))
        return {name: value.detach() for name, value in assembly.objective.network.named_parameters()}

    found = [trained(None), trained(None, micro_batch=7), *in_workers(2, trained)]
    for weights_after in found:
        for name, value in expected.items():
            torch.testing.assert_close(weights_after[name], value.detach(), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("task", [task for task, row in TASKS.items() if "class_weights" in row.loss_settings])
def test_nothing_but_the_loss_is_weighted_and_a_saved_model_agrees(task, make_job, tiny_data, tmp_path: Path):
    def measured(**training: Any) -> tuple[Any, dict[str, float]]:
        settings = {"batch_size": 16, "epochs": 1, "precision": "fp32", **training}
        assembly = assemble(prepare(make_job(task, tiny_data(task), training=settings)))
        return assembly, evaluate_in_training(assembly, "val", "fp32")

    _, plain = measured()
    smoothed = {"label_smoothing": 0.3} if "label_smoothing" in TASKS[task].loss_settings else {}
    assembly, weighted = measured(class_weights="balanced", **smoothed)
    assert weighted["loss"] != plain["loss"]
    untouched = TASKS[task].metrics.keys() - {"loss"}
    assert {name: weighted[name] for name in untouched} == {name: plain[name] for name in untouched}
    list(train("r", start(assembly)))
    data = assembly.data
    save_model(tmp_path, assembly.job, data.fields, assembly.objective, data.fingerprint)
    reported = evaluate_in_training(assembly, "val", "fp32")
    assert evaluate(Model.load(tmp_path), part="val") == {
        f"{name}/val": pytest.approx(value, rel=1e-4, abs=1e-5) for name, value in reported.items()
    }


def test_class_weights_are_not_part_of_a_checkpoint(rare):
    assembly = assemble(prepare(rare(class_weights={"spam": 5})))
    assert assembly.objective.state_dict().keys() == assemble(prepare(rare())).objective.state_dict().keys()
