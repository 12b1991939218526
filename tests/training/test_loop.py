import math
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from stoker.errors import Cause, TrainingFailed
from stoker.training.assembly import Assembly, assemble
from stoker.training.evaluation import evaluate
from stoker.training.events import EpochEnd, Event, StepEnd, TrainingEnd
from stoker.training.loop import start, train
from stoker.training.preparation import prepare

CPU = torch.device("cpu")
STILL = {"type": "sgd", "lr": 1e-30, "momentum": 0.0}
"""A learning rate that does not change the weights."""

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def iris(make_job):
    """Assemble a small network on iris: 120 training, 15 validation and 15 test samples."""

    def assembled(split=None, architecture=None, **training) -> Assembly:
        dataset = {"source": "iris", **({"split": split} if split else {})}
        settings = {"batch_size": 50, "epochs": 3, "precision": "fp32", **training}
        network = architecture or {"family": "mlp", "hidden": [8]}
        job = make_job("tabular-classification", dataset, architecture=network, training=settings)
        return assemble(prepare(job))

    return assembled


def of(kind: type, events: list[Event]) -> list:
    return [event for event in events if isinstance(event, kind)]


def weights(assembly: Assembly) -> list[torch.Tensor]:
    return [value.clone() for value in assembly.objective.state_dict().values()]


def equal(one: list[torch.Tensor], other: list[torch.Tensor]) -> bool:
    return all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


def test_events_are_yielded_in_order(iris):
    events = list(train("iris-1", start(iris(epochs=2))))
    kinds = [type(event).__name__ for event in events]
    assert kinds == [*["StepEnd"] * 3, "EpochEnd", *["StepEnd"] * 3, "EpochEnd", "TrainingEnd"]
    assert {event.run for event in events} == {"iris-1"}
    assert [event.step for event in events] == [1, 2, 3, 3, 4, 5, 6, 6, 6]
    assert [event.epoch for event in of(StepEnd, events)] == [0, 0, 0, 1, 1, 1]
    assert [event.epoch for event in of(EpochEnd, events)] == [1, 2]
    assert events[-1].reason == "length"


def test_an_epochs_loss_counts_every_sample_once(iris):
    assembly = iris(optimizer=STILL, schedule="constant", epochs=1)
    exact = evaluate(assembly, "train", "fp32")["loss"]
    events = list(train("r", start(assembly)))
    steps = [float(event.losses["loss"]) for event in of(StepEnd, events)]
    (end,) = of(EpochEnd, events)
    assert end.metrics["loss/train"] == pytest.approx(exact, rel=1e-6)
    assert np.average(steps, weights=[50, 50, 20]) == pytest.approx(exact, rel=1e-6)
    assert np.mean(steps) != pytest.approx(exact, rel=1e-4)


@pytest.mark.parametrize(("optimizer", "lr"), [("sgd", 0.02), ("adam", 0.02), ("adamw", 0.02), ("muon", 0.2)])
def test_each_optimizer_lowers_the_loss(iris, optimizer: str, lr: float):
    ends = of(EpochEnd, list(train("r", start(iris(optimizer={"type": optimizer, "lr": lr}, epochs=10)))))
    assert ends[-1].metrics["loss/train"] < 0.7 * ends[0].metrics["loss/train"]
    assert ends[-1].metrics["loss/val"] < ends[0].metrics["loss/val"]


@pytest.mark.parametrize(("family", "low", "high"), [("perceptron", 0.0, 0.75), ("mlp", 1.0, 1.0)])
def test_xor_needs_a_hidden_layer(make_job, family: str, low: float, high: float):
    dataset = {"source": "xor", "split": "none"}
    settings = {"precision": "fp32", "epochs": 40}
    job = make_job("tabular-classification", dataset, architecture=family, training=settings)
    assembly = assemble(prepare(job))
    ends = of(EpochEnd, list(train("xor", start(assembly))))
    assert low <= ends[-1].metrics["accuracy/train"] <= high
    assert low <= evaluate(assembly, "train", "fp32")["accuracy"] <= high


def test_the_same_seed_gives_the_same_bits(iris):
    dropout = {"family": "mlp", "hidden": [8], "dropout": 0.3}
    runs = []
    for seed in (0, 0, 1):
        assembly = iris(architecture=dropout, seed=seed)
        torch.rand(len(runs) + 1)  # other draws must not matter
        metrics = [event.metrics for event in of(EpochEnd, list(train("r", start(assembly))))]
        runs.append((weights(assembly), metrics))
    assert equal(runs[0][0], runs[1][0])
    assert runs[0][1] == runs[1][1]
    assert not equal(runs[0][0], runs[2][0])


def test_the_best_weights_are_restored(iris):
    assembly = iris(optimizer={"type": "sgd", "lr": 0.5}, schedule="constant", epochs=25)
    kept, ranks, end = {}, {}, None
    for event in train("r", start(assembly)):
        if isinstance(event, EpochEnd):
            kept[event.epoch] = weights(assembly)
            ranks[event.epoch] = (-event.metrics["accuracy/val"], event.metrics["loss/val"])
            assert event.improved == (ranks[event.epoch] == min(ranks.values()))
        elif isinstance(event, TrainingEnd):
            end = event
    assert end is not None
    best = min(ranks, key=lambda epoch: ranks[epoch])
    assert end.best_epoch == best
    assert best != 25, "these settings should not end at the best"
    assert [rank[0] for rank in ranks.values()].count(ranks[best][0]) > 1, "these settings should make a tie"
    assert equal(weights(assembly), kept[best])


def test_another_metric_selects_other_weights(iris):
    assembly = iris(
        optimizer={"type": "sgd", "lr": 0.5}, schedule="constant", epochs=10, checkpoint={"best": "loss/train"}
    )
    ends = []
    for event in train("r", start(assembly)):
        ends.append(event)
    losses = {event.epoch: event.metrics["loss/train"] for event in of(EpochEnd, ends)}
    assert ends[-1].best_epoch == min(losses, key=lambda epoch: losses[epoch])


def test_a_watched_metric_of_the_training_part_is_measured(iris):
    ends = of(EpochEnd, list(train("r", start(iris(checkpoint={"best": "f1/train"}, epochs=1)))))
    assert {"f1/train", "f1/val", "loss/train", "loss/val"} <= ends[0].metrics.keys()
    ends = of(EpochEnd, list(train("r", start(iris(epochs=1)))))
    assert "f1/train" not in ends[0].metrics


def test_without_a_split_the_last_weights_stay(iris):
    assembly = iris(split="none", optimizer={"type": "sgd", "lr": 0.5}, schedule="constant", epochs=6)
    last = None
    for event in train("r", start(assembly)):
        if isinstance(event, EpochEnd):
            last = weights(assembly)
            assert {"accuracy/train", "loss/train"} <= event.metrics.keys()
            assert not any(name.endswith("/val") for name in event.metrics)
    assert isinstance(event, TrainingEnd)
    assert event.best_epoch == 6
    assert last is not None
    assert equal(weights(assembly), last)


def test_early_stopping_stops_when_nothing_improves(iris):
    events = list(train("r", start(iris(optimizer=STILL, epochs=50, early_stopping={"patience": 3}))))
    assert events[-1].reason == "early stopping"
    assert len(of(EpochEnd, events)) == 4
    assert events[-1].best_epoch == 1


def test_early_stopping_watches_its_own_metric(iris):
    stopping = {"metric": "loss/train", "patience": 2}
    events = list(train("r", start(iris(optimizer={"type": "sgd", "lr": 0.01}, epochs=5, early_stopping=stopping))))
    assert events[-1].reason == "length"


def test_plateau_cuts_the_rate_of_a_run(iris):
    schedule = {"type": "plateau", "patience": 1, "factor": 0.5}
    still = iris(optimizer={"type": "sgd", "lr": 1e-7, "momentum": 0.0}, schedule=schedule, epochs=5)
    by_epoch = {event.epoch: event.learning_rates["network"] for event in of(StepEnd, list(train("r", start(still))))}
    assert [by_epoch[epoch] for epoch in range(5)] == pytest.approx([1e-7, 1e-7, 1e-7, 5e-8, 5e-8])


def test_the_learning_rate_follows_the_schedule(iris):
    settings = {"optimizer": {"type": "sgd", "lr": 0.1}, "schedule": {"type": "linear", "warmup": "2 steps"}}
    found = [
        event.learning_rates["network"] for event in of(StepEnd, list(train("r", start(iris(epochs=2, **settings)))))
    ]
    assert found == pytest.approx([0.1 / 3, 0.2 / 3, 0.1, 0.075, 0.05, 0.025])


def test_a_number_of_steps_ends_in_the_middle_of_an_epoch(iris):
    events = list(train("r", start(iris(epochs=None, steps=4))))
    assert [event.step for event in of(StepEnd, events)] == [1, 2, 3, 4]
    assert [(event.epoch, event.step) for event in of(EpochEnd, events)] == [(1, 3), (2, 4)]
    assert events[-1].reason == "length"


def test_a_time_limit_ends_training_successfully(iris):
    begin = time.monotonic()
    events = list(train("r", start(iris(epochs=1_000_000, time="0.3 s"))))
    assert 0.3 <= time.monotonic() - begin < 30
    assert events[-1].reason == "time"
    assert isinstance(events[-2], EpochEnd)
    assert "accuracy/val" in events[-2].metrics


def test_a_loss_that_explodes_names_its_step(make_job):
    settings = {"optimizer": {"type": "sgd", "lr": 1000}, "epochs": 5, "precision": "fp32"}
    assembly = assemble(prepare(make_job("tabular-regression", "diabetes", training=settings)))
    steps: list[StepEnd] = []
    with pytest.raises(TrainingFailed) as caught:
        steps.extend(event for event in train("r", start(assembly)) if isinstance(event, StepEnd))
    first = next(event for event in steps if not math.isfinite(float(event.losses["loss"])))
    shown = float(first.losses["loss"])
    assert caught.value.cause is Cause.NON_FINITE
    place = f"the loss became {shown} at step {first.step} (epoch {first.epoch + 1}; samples: "
    assert caught.value.message.startswith(place)
    ids = assembly.batches().ids(first.epoch, (first.step - 1) % assembly.prepared.steps_per_epoch)
    assert f"samples: {', '.join(map(str, ids[:8]))} and" in caught.value.message


def test_weights_that_explode_in_the_last_step_fail_the_run(make_job):
    settings = {"optimizer": {"type": "sgd", "lr": 1000}, "steps": 1, "batch_size": 300, "precision": "fp32"}
    job = make_job("tabular-regression", {"source": "diabetes", "split": "none"}, training=settings)
    assembly = assemble(prepare(job))
    with torch.no_grad():
        for parameter in assembly.objective.parameters():
            parameter.mul_(1e6)
    with pytest.raises(TrainingFailed, match=r"^NON_FINITE: the loss "):
        list(train("r", start(assembly)))


def test_gradients_are_clipped_to_the_limit(iris):
    assembly = iris(
        optimizer={"type": "sgd", "lr": 1.0, "momentum": 0.0},
        schedule="constant", gradient_clip=0.01, epochs=None, steps=1, split="none",
    )  # fmt: skip
    before = weights(assembly)
    (step,) = of(StepEnd, list(train("r", start(assembly))))
    moved = torch.cat([(a - b).flatten() for a, b in zip(weights(assembly), before, strict=True)]).norm()
    assert float(step.gradient_norms["network"]) > 0.05
    assert float(moved) == pytest.approx(0.01, rel=1e-3)


def test_the_norm_is_measured_at_its_interval(iris):
    norms = [event.gradient_norms for event in of(StepEnd, list(train("r", start(iris(epochs=2)), norm_every=2)))]
    assert [set(each) for each in norms] == [set(), {"network"}] * 3


def test_a_batch_without_weight_changes_nothing(make_job, tmp_path: Path):
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"x": rng.normal(size=40), "y": ["a", "b"] * 20, "w": [1.0] + [0.0] * 39})
    frame.to_csv(tmp_path / "weighted.csv", index=False)
    columns = {"label": "y", "weight": "w", "features": ["x"]}
    dataset = {"source": str(tmp_path / "weighted.csv"), "columns": columns, "split": "none"}
    for micro_batch in (4, 2):
        settings = {"batch_size": 4, "micro_batch": micro_batch, "epochs": 2, "precision": "fp32"}
        assembly = assemble(prepare(make_job("tabular-classification", dataset, training=settings)))
        losses = [float(event.losses["loss"]) for event in of(StepEnd, list(train("r", start(assembly))))]
        assert sum(loss > 0 for loss in losses) == 2
        assert all(map(math.isfinite, losses))


def test_a_run_in_bf16_learns_as_well(iris):
    ends = of(
        EpochEnd, list(train("r", start(iris(precision="bf16", optimizer={"type": "adamw", "lr": 0.02}, epochs=10))))
    )
    assert ends[-1].metrics["loss/train"] < 0.7 * ends[0].metrics["loss/train"]


def test_losses_are_read_at_intervals_and_none_is_lost(iris):
    assembly = iris(optimizer=STILL, schedule="constant", batch_size=1, epochs=1)
    exact = evaluate(assembly, "train", "fp32")["loss"]
    (end,) = of(EpochEnd, list(train("r", start(replace(assembly)))))
    assert end.step == 120
    assert end.metrics["loss/train"] == pytest.approx(exact, rel=1e-6)
