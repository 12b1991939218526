"""Expensive metrics: computed in some epochs on some samples, and only compared in those epochs."""

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch

from stoker.job.training import Evaluate
from stoker.storage import open_storage
from stoker.training.assembly import assemble
from stoker.training.attempt import Stopped, attempt
from stoker.training.checkpoint import Checkpoints
from stoker.training.evaluation import evaluate, show
from stoker.training.evaluation_epochs import draws, measures_all, sample_rows
from stoker.training.events import EpochEnd, TrainingEnd
from stoker.training.loop import start, train
from stoker.training.parallel import ALONE, Workers
from stoker.training.preparation import Prepared, prepare

FRECHET = "frechet/val"

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def gan(tiny_data, make_job) -> Callable[..., Prepared]:
    """Prepare a small GAN on 60 images, 9 of them for validation: three steps per epoch."""

    def prepared(**training: Any) -> Prepared:
        settings = {"batch_size": 16, "epochs": 7, "precision": "fp32", "schedule": "constant", **training}
        architecture = {"family": "gan", "channels": [4], "latent": 5, "spectral_norm": False}
        job = make_job("image-generation", tiny_data("image-generation"), architecture=architecture, training=settings)
        return prepare(job)

    return prepared


def ends(prepared: Prepared, workers: Workers = ALONE) -> list[EpochEnd]:
    events = train("r", start(assemble(prepared, workers)))
    return [event for event in events if isinstance(event, EpochEnd)]


def measured(events: list[EpochEnd]) -> list[int]:
    """List the epochs in which the expensive metric was computed."""
    return [event.epoch for event in events if FRECHET in event.metrics]


@pytest.mark.parametrize(
    ("every", "metrics", "pictures"),
    [(None, range(1, 65), [1, 2, 4, 8, 16, 32, 64]), ("10 epochs", range(10, 65, 10), range(10, 65, 10))],
)
def test_evaluation_epochs_are_a_function_of_the_epoch(every, metrics, pictures):
    settings = Evaluate(every=every)
    assert [epoch for epoch in range(1, 65) if measures_all(settings, epoch)] == list(metrics)
    assert [epoch for epoch in range(1, 65) if draws(settings, epoch)] == list(pictures)


def test_sampled_rows_are_drawn_by_the_seed():
    rows = sample_rows(1000, 100, 0)
    assert torch.equal(rows, sample_rows(1000, 100, 0))
    assert not torch.equal(rows, sample_rows(1000, 100, 1))
    assert len(set(rows.tolist())) == 100
    assert rows.tolist() == sorted(rows.tolist())
    assert abs(float(rows.double().mean()) - 500) < 100
    assert sample_rows(9, 9, 0).tolist() == list(range(9))


def test_an_expensive_metric_is_computed_at_its_interval_and_at_the_end(gan):
    assert measured(ends(gan())) == [1, 2, 3, 4, 5, 6, 7]
    at_interval = ends(gan(evaluate={"every": 3}))
    assert measured(at_interval) == [3, 6, 7]
    assert all("loss/val" in event.metrics for event in at_interval)
    assert measured(ends(gan(evaluate={"every": 30}))) == [7]


def test_the_interval_changes_no_value(gan):
    every, some = ends(gan()), ends(gan(evaluate={"every": 3}))
    for one, other in zip(every, some, strict=True):
        assert other.metrics == {key: one.metrics[key] for key in other.metrics}


def test_the_last_epoch_has_the_metric_even_if_it_ends_early(gan):
    stopped = ends(gan(evaluate={"every": 5}, early_stopping={"metric": "loss/train", "patience": 1}, epochs=60))
    assert stopped[-1].last
    assert stopped[-1].epoch % 5, "these settings should stop between two computations"
    assert FRECHET in stopped[-1].metrics
    late = ends(gan(evaluate={"every": 1_000_000}, epochs=1_000_000, time="0.3 s"))
    assert measured(late) == [late[-1].epoch]


def test_the_best_weights_are_those_of_an_epoch_with_the_metric(gan):
    prepared = gan(evaluate={"every": 2}, checkpoint={"best": FRECHET})
    assembly = assemble(prepared)
    values, weights, events = {}, {}, list[Any]()
    for event in train("r", start(assembly)):
        events.append(event)
        if isinstance(event, EpochEnd):
            weights[event.epoch] = [value.clone() for value in assembly.objective.state_dict().values()]
            if FRECHET in event.metrics:
                values[event.epoch] = event.metrics[FRECHET]
                assert event.improved == (values[event.epoch] == min(values.values()))
            else:
                assert not event.improved
    best = min(values, key=lambda epoch: values[epoch])
    end = events[-1]
    assert isinstance(end, TrainingEnd)
    assert set(values) == {2, 4, 6, 7}
    assert end.best_epoch == best
    kept = assembly.objective.state_dict().values()
    assert all(torch.equal(a, b) for a, b in zip(kept, weights[best], strict=True))


@pytest.mark.parametrize(("every", "patience", "expected"), [(3, 2, 6), (2, 3, 6), (1, 2, 3)])
def test_early_stopping_only_counts_epochs_with_its_metric(gan, every, patience, expected):
    still = {"type": "sgd", "lr": 1e-30, "momentum": 0.0}
    optimizer = {"generator": still, "discriminator": still}
    stopping = {"metric": FRECHET, "patience": patience}
    events = ends(gan(optimizer=optimizer, evaluate={"every": every}, early_stopping=stopping, epochs=20))
    assert events[-1].epoch == expected  # the first computation is the best, the patience counts epochs from there


def test_plateau_only_reduces_the_rate_in_epochs_with_its_metric(gan):
    still = {"type": "sgd", "lr": 1e-30, "momentum": 0.0}
    prepared = gan(
        optimizer={"generator": still, "discriminator": still},
        schedule={"type": "plateau", "patience": 2, "factor": 0.5},
        evaluate={"every": 2},
        checkpoint={"best": FRECHET},
        epochs=9,
    )
    state = start(assemble(prepared))
    rates = {}
    for event in train("r", state):
        if isinstance(event, EpochEnd):
            rates[event.epoch] = state.schedules["generator"].learning_rate * 1e30
    assert [rates[epoch] for epoch in range(1, 10)] == pytest.approx([1, 1, 1, 1, 1, 0.5, 0.5, 0.5, 0.25])


def test_the_sampled_rows_are_the_same_on_one_worker_and_on_two(gan, in_workers):
    steady = {"type": "sgd", "lr": 0.005, "momentum": 0.0}  # Adam amplifies rounding differences
    optimizer = {"generator": steady, "discriminator": steady}
    prepared = gan(optimizer=optimizer, evaluate={"every": 2, "samples": 5}, epochs=4)

    def work(workers: Workers) -> list[dict[str, float]]:
        return [event.metrics for event in ends(prepared, workers)]

    alone = work(ALONE)
    assert [FRECHET in metrics for metrics in alone] == [False, True, False, True]
    for theirs in in_workers(2, work):
        assert [metrics.keys() for metrics in theirs] == [metrics.keys() for metrics in alone]
        for mine, other in zip(alone, theirs, strict=True):
            assert other == pytest.approx(mine, rel=1e-3)


def test_samples_limit_the_expensive_metric_and_nothing_else(gan):
    whole, few, none = (assemble(gan(evaluate={"samples": samples})) for samples in (None, 5, 9_999))
    everything, some, same = (evaluate(assembly, "val", "fp32") for assembly in (whole, few, none))
    assert everything == same
    assert some["frechet"] != everything["frechet"]
    assert math.isfinite(some["frechet"])
    assert {k: v for k, v in some.items() if k != "frechet"} == {k: v for k, v in everything.items() if k != "frechet"}
    assert "frechet" not in evaluate(whole, "val", "fp32", expensive=False)


def test_a_run_interrupted_between_two_computations_resumes_exactly(gan, tmp_path, digest):
    settings = {"evaluate": {"every": 3}, "checkpoint": {"best": FRECHET}}
    settings["early_stopping"] = {"metric": FRECHET, "patience": 50}
    state = start(assemble(gan(**settings)))
    whole = [event for event in train("r", state) if isinstance(event, EpochEnd)]
    stopped = start(assemble(gan(**settings)))
    checkpoints = Checkpoints(open_storage(str(tmp_path)), "", 2, 1)
    *first, last = attempt("r", stopped, checkpoints, 1, lambda: "stop" if stopped.step >= 14 else "")
    assert last == Stopped("r", 4, 14)
    again = start(assemble(gan(**settings)))
    assert Checkpoints(open_storage(str(tmp_path)), "", 2, 2).restore(again)
    rest = [event for event in train("r", again) if isinstance(event, EpochEnd)]
    assert [*(event for event in first if isinstance(event, EpochEnd)), *rest] == whole
    assert digest(again) == digest(state)


def test_pictures_are_the_same_in_any_attempt_and_do_not_affect_training(gan, tiny_data, make_job, digest):
    masks = make_job("segmentation", tiny_data("segmentation"), architecture={"family": "unet", "channels": [4]})
    for prepared in (gan(), prepare(masks)):
        state = start(assemble(prepared))
        before = digest(state)
        assert state.assembly.objective.train().training
        sheets = [show(state.assembly, "fp32") for _ in range(2)]
        assert state.assembly.objective.training
        assert digest(state) == before
        images = [[image.tobytes() for picture in sheet.pictures for image in picture.images] for sheet in sheets]
        assert images[0] == images[1]
