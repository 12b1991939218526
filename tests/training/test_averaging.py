"""The moving average of the weights: what is evaluated, kept and resumed."""

from itertools import islice
from typing import Any

import pytest
import torch

from stoker.errors import JobError
from stoker.jobfile.loading import parse_job
from stoker.training.assembly import assemble
from stoker.training.evaluation import evaluate
from stoker.training.events import EpochEnd, StepEnd
from stoker.training.loop import start, train
from stoker.training.parallel import ALONE, Workers
from stoker.training.preparation import Prepared, prepare
from stoker.training.state import TrainingState

EMA = 0.9
pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def iris(make_job):
    def prepared(split: Any = "none", **training: Any) -> Prepared:
        settings = {"batch_size": 50, "epochs": 4, "precision": "fp32", "ema": EMA, **training}
        dataset = {"source": "iris", "split": split}
        network = {"family": "mlp", "hidden": [8]}
        return prepare(make_job("tabular-classification", dataset, architecture=network, training=settings))

    return prepared


def weights(state: TrainingState) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in state.weights().items()}


def test_the_average_forgets_by_its_decay_and_faster_at_first(iris):
    state = start(assemble(iris()))
    expected: dict[str, torch.Tensor] = {}
    for event in train("r", state):
        if isinstance(event, StepEnd):
            decay = min(EMA, (1 + event.step) / (10 + event.step))
            for name, value in weights(state).items():
                expected[name] = decay * expected[name] + (1 - decay) * value if name in expected else value
            assert state.average is not None
            torch.testing.assert_close(state.average.weights, expected)
    torch.testing.assert_close(weights(state), expected)  # without a part to choose by, the average is the model


def test_metrics_and_best_weights_are_those_of_the_average(iris):
    split = {"train": 0.6, "val": 0.4, "test": 0.0}
    prepared = iris(split, optimizer={"type": "sgd", "lr": 0.5}, schedule="constant", checkpoint={"best": "loss/val"})
    state, best = start(assemble(prepared)), {}
    for event in train("r", state):
        if isinstance(event, EpochEnd):
            current = weights(state)
            with state.averaged():
                measured = evaluate(state.assembly, "val", "fp32")
                best = weights(state) if event.improved else best
            assert event.metrics["loss/val"] == pytest.approx(measured["loss"])
            assert evaluate(state.assembly, "val", "fp32")["loss"] != pytest.approx(measured["loss"])
            assert all(torch.equal(value, current[name]) for name, value in weights(state).items())
    assert all(torch.equal(value, best[name]) for name, value in weights(state).items())


def test_averages_of_mixed_images_agree_for_1_and_2_workers(make_job, in_workers):
    training = {"batch_size": 150, "steps": 12, "precision": "fp32", "micro_batch": 40, "ema": EMA}
    training |= {"mixup": 0.2, "cutmix": 1.0, "label_smoothing": 0.1, "optimizer": {"type": "sgd", "lr": 0.05}}
    job = make_job("image-classification", "digits", architecture={"family": "cnn", "channels": [4]}, training=training)
    prepared = prepare(job)

    def work(workers: Workers) -> tuple[list[float], dict[str, torch.Tensor]]:
        state = start(assemble(prepared, workers))
        steps = (event for event in train("r", state) if isinstance(event, StepEnd))
        losses = [float(event.losses["loss"]) for event in islice(steps, 12)]
        assert state.average is not None
        return losses, state.average.weights

    alone, averages = work(ALONE)
    for losses, theirs in in_workers(2, work):
        assert losses == pytest.approx(alone, abs=1e-5)
        torch.testing.assert_close(theirs, averages, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize(
    ("task", "rest", "expected"),
    [
        (
            "image-generation",
            "architecture: gan\ntraining: {ema: 0.9}",
            "training.ema does nothing for gan, which averages the weights of its generator itself; "
            "set architecture.ema",
        ),
        (
            "image-classification",
            "resources: {workers: 2}\ntraining: {ema: 0.9, parallel: fsdp}",
            "training.ema averages whole weights, which fsdp divides; leave it out, or use replicated",
        ),
    ],
)
def test_weights_that_cannot_be_averaged_are_refused(task: str, rest: str, expected: str):
    with pytest.raises(JobError) as caught:
        parse_job(f"task: {task}\ndataset: digits\n{rest}\n", "job.yaml")
    assert [f"{problem.path} {problem.message}" for problem in caught.value.problems] == [expected]
