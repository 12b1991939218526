"""Made images are compared by the features of one classifier, which all workers and attempts have alike."""

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch

from stoker.errors import JobError
from stoker.inference.evaluation import evaluate as evaluate_model
from stoker.inference.model import Model, save_model
from stoker.job.saved_model import WEIGHTS
from stoker.job.task import TASKS
from stoker.storage import open_storage
from stoker.training.assembly import Assembly, assemble
from stoker.training.attempt import attempt
from stoker.training.checkpoint import Checkpoints
from stoker.training.evaluation import evaluate
from stoker.training.events import EpochEnd
from stoker.training.feature_training import set_features, trained_content
from stoker.training.features import kept_content
from stoker.training.loop import start, train
from stoker.training.parallel import ALONE, Workers
from stoker.training.preparation import Prepared, prepare
from stoker.training.state import TrainingState

pytestmark = pytest.mark.usefixtures("one_thread")
BY_FEATURES = {f"{name}/val" for name in TASKS["image-generation"].by_features}
STEADY = {"type": "sgd", "lr": 1e-4, "momentum": 0.0}


@pytest.fixture(scope="module")
def vae(tiny_data, make_job) -> Callable[..., Prepared]:
    """Prepare a small VAE on 60 images, 9 of them for validation: three steps per epoch."""

    def prepared(features: str | None = "trained", source: str = "", **training: Any) -> Prepared:
        evaluated = {"every": 2, **({"features": features} if features else {})}
        settings = {"batch_size": 16, "epochs": 4, "precision": "fp32", "optimizer": STEADY, "evaluate": evaluated}
        data = tiny_data("image-generation")
        data = {**data, "source": data["source"].replace("images.npz", source)} if source else data
        architecture = {"family": "vae", "channels": [4], "latent": 3}
        return prepare(make_job("image-generation", data, architecture=architecture, training=settings | training))

    return prepared


@pytest.fixture(scope="module")
def assembled(vae) -> Assembly:
    assembly = assemble(vae())
    set_features(assembly, None)
    return assembly


def test_a_classifier_is_trained_by_the_seed_alone_and_told_with_its_accuracy(vae, assembled):
    content = kept_content(assembled.task.features)
    torch.manual_seed(1)
    before = torch.get_rng_state()
    again = trained_content(vae(), torch.device("cpu"))
    assert torch.equal(torch.get_rng_state(), before)
    assert again.digest == content.digest
    assert again.facts == content.facts
    assert trained_content(vae(seed=1), torch.device("cpu")).digest != content.digest
    assert 0 < content.facts["accuracy"] <= 1
    assert content.digest[:12] in content.description
    assert f"accuracy/val {content.facts['accuracy']:.4f}" in content.description


def test_metrics_by_features_are_those_of_any_number_of_workers(vae, in_workers):
    prepared = vae()

    def work(workers: Workers) -> Any:
        assembly = assemble(prepared, workers)
        set_features(assembly, None)
        events = [event for event in train("r", start(assembly)) if isinstance(event, EpochEnd)]
        return kept_content(assembly.task.features).digest, [event.metrics for event in events]

    digest, alone = work(ALONE)
    assert [metrics.keys() >= BY_FEATURES | {"active_units/val"} for metrics in alone] == [False, True, False, True]
    for other, theirs in in_workers(2, work):
        assert other == digest
        for mine, metrics in zip(alone, theirs, strict=True):
            assert metrics == pytest.approx(mine, rel=1e-3, abs=1e-4)


def test_features_change_nothing_else(vae):
    def trained(features: str | None) -> list[dict[str, float]]:
        assembly = assemble(vae(features))
        set_features(assembly, None)
        events = [event.metrics for event in train("r", start(assembly)) if isinstance(event, EpochEnd)]
        return [{k: v for k, v in metrics.items() if k not in BY_FEATURES} for metrics in events]

    assert trained("trained") == trained(None)


def test_a_resumed_run_has_the_same_classifier(vae, tmp_path, digest):
    prepared = vae()

    def started() -> TrainingState:
        state = start(assemble(prepared))
        set_features(state.assembly, None)
        with torch.no_grad():
            next(iter(state.assembly.task.features.classifier.parameters())).add_(0.125)  # training gives other weights
        set_features(state.assembly, None)
        return state

    whole, stopped = started(), started()
    ends = [event for event in train("r", whole) if isinstance(event, EpochEnd)]
    checkpoints = Checkpoints(open_storage(str(tmp_path)), "", 2, 1)
    list(attempt("r", stopped, checkpoints, 1, lambda: "stop" if stopped.step >= 4 else ""))
    again = start(assemble(prepared))
    assert Checkpoints(open_storage(str(tmp_path)), "", 2, 2).restore(again)
    set_features(again.assembly, None)
    rest = [event for event in train("r", again) if isinstance(event, EpochEnd)]
    assert [event.metrics for event in rest] == [event.metrics for event in ends[1:]]
    assert digest(again) == digest(whole)
    other = start(assemble(vae(None)))
    assert Checkpoints(open_storage(str(tmp_path)), "", 2, 3).restore(other)
    set_features(other.assembly, None)
    assert other.assembly.task.features is None, "the job no longer asks for it"


def test_the_saved_model_is_that_of_the_network_alone(assembled, tmp_path):
    data = assembled.data
    save_model(tmp_path, assembled.job, data.fields, assembled.objective, data.fingerprint)
    size = (tmp_path / WEIGHTS).stat().st_size
    without = sum(value.nbytes for value in assembled.objective.network.state_dict().values())
    assert without < size < without + 10_000


def test_a_classifier_of_an_earlier_run_sees_images_by_its_own_standardisation(
    vae, tiny_data, make_job, tmp_path, assembled
):
    data = {**tiny_data("image-classification"), "image": {"normalization": {"mean": [0.1], "std": [0.7]}}}
    job = make_job("image-classification", data, architecture={"family": "cnn", "channels": [4, 6]})
    earlier = assemble(prepare(job))
    save_model(tmp_path, earlier.job, earlier.data.fields, earlier.objective, earlier.data.fingerprint)
    assembly = assemble(vae(str(tmp_path)))
    set_features(assembly, tmp_path)
    (image,) = assembly.parts["val"].inputs.values()
    pixels = image.take(torch.arange(9))
    own = assembly.data.fields.image.prepare(pixels)
    name = earlier.data.fields.image.name
    with torch.no_grad():
        expected = earlier.objective.eval().network({name: earlier.data.fields.image.prepare(pixels)}).argmax(dim=1)
    features, classes = assembly.task.features(own)
    assert features.shape == (9, 6)
    assert torch.equal(classes, expected)
    right = (expected == assembly.parts["val"].target.take(torch.arange(9))).float().mean()
    assert assembly.task.features.facts["accuracy"] == pytest.approx(float(right))
    found = evaluate(assembly, "val", "fp32")
    assert found["fid"] != evaluate(assembled, "val", "fp32")["fid"]
    assert math.isnan(evaluate(assembly, "train", "fp32")["memorised"])


def test_what_is_no_classifier_is_refused(vae, assembled, tmp_path):
    with pytest.raises(JobError, match="has no classes for a network to tell apart"):
        vae(source="unlabelled.npz")
    assembly = assemble(vae(str(tmp_path)))
    with pytest.raises(JobError, match="no saved model in"):
        set_features(assembly, tmp_path)
    data = assembled.data
    save_model(tmp_path, assembled.job, data.fields, assembled.objective, data.fingerprint)
    with pytest.raises(JobError, match="is a model of image-generation; name a run of image-classification"):
        set_features(assembly, tmp_path)


def test_a_model_is_measured_again_by_the_same_features(assembled, tmp_path, tiny_data):
    data = assembled.data
    save_model(tmp_path, assembled.job, data.fields, assembled.objective, data.fingerprint)
    reported = evaluate(assembled, "test", "fp32")
    found = evaluate_model(Model.load(tmp_path), part="test")
    assert found == {f"{name}/test": pytest.approx(value, rel=1e-5, abs=1e-6) for name, value in reported.items()}
    more = evaluate_model(Model.load(tmp_path), tiny_data("image-generation")["source"])
    assert more.keys() >= TASKS["image-generation"].metrics.keys() - {"loss"}


def test_new_data_is_measured_without_features_if_that_of_the_training_is_gone(assembled, tmp_path, tiny_data):
    data = assembled.data
    save_model(tmp_path, assembled.job, data.fields, assembled.objective, "another")
    notes: list[str] = []
    found = evaluate_model(Model.load(tmp_path), tiny_data("image-generation")["source"], tell=notes.append)
    assert found.keys() >= {"frechet", "active_units"}
    assert not found.keys() & set(TASKS["image-generation"].by_features)
    assert "which need the data of the training" in notes[0]
