from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from stoker.errors import JobError
from stoker.job.task import TASKS
from stoker.jobfile.loading import dump_job, parse_job
from stoker.training.autotune import choose
from stoker.training.parallel import ALONE
from stoker.training.preparation import default_architecture, default_epochs, prepare
from stoker.training.problems import default_batch_size

CPU = torch.device("cpu")


def problems(job) -> list[tuple[str, str]]:
    with pytest.raises(JobError) as caught:
        prepare(job)
    return [(problem.path, problem.message) for problem in caught.value.problems]


def test_every_default_is_filled_in(make_job):
    prepared = prepare(make_job("tabular-classification", "iris"))
    training = prepared.job.training
    assert prepared.architecture.family == "mlp"
    assert (training.batch_size, training.epochs) == (16, 188)
    assert training.checkpoint.best == "accuracy/val"
    assert prepared.steps_per_epoch == 8
    assert prepared.steps == 188 * 8


@pytest.mark.parametrize(
    ("task", "dataset", "training"),
    [
        ("tabular-classification", "iris", {"micro_batch": 1000}),
        ("tabular-regression", {"source": "diabetes", "split": "none"}, {"steps": 7}),
        ("image-classification", {"source": "digits", "image": {"augment": ["flip"]}}, {"time": "1 min"}),
    ],
)
def test_the_completed_job_is_a_valid_equivalent_job(make_job, task, dataset, training):
    prepared = prepare(make_job(task, dataset, training=training))
    written = parse_job(dump_job(prepared.job), "resolved.yaml").job
    again = prepare(written).job
    assert again.model_copy(update={"name": None}) == prepared.job.model_copy(update={"name": None})


def test_the_first_limit_ends_training(make_job):
    def lengths(**training):
        prepared = prepare(make_job("tabular-classification", "iris", training={"batch_size": 50, **training}))
        return prepared.steps, prepared.epochs

    assert lengths(epochs=2) == (6, 2)
    assert lengths(steps=4) == (4, 2)
    assert lengths(epochs=2, steps=4) == (4, 2)
    assert lengths(epochs=1, steps=4) == (3, 1)


@given(st.integers(1, 10**7))
def test_the_default_batch_is_a_power_of_two_that_fits(samples: int):
    batch = default_batch_size(samples)
    assert batch & (batch - 1) == 0
    assert 1 <= batch <= min(samples, 512)
    assert batch >= min(16, samples // 2 + 1)
    assert 20 <= default_epochs(-(-samples // batch)) <= 200


def test_the_default_network_is_the_tasks_first_family():
    assert {task: default_architecture(task).family for task in TASKS} == {
        task: row.families[0] for task, row in TASKS.items()
    }


def test_a_batch_larger_than_the_data_is_reported(make_job):
    job = make_job("tabular-classification", "iris", training={"batch_size": 121})
    message = "121 is more than the 120 training samples; use at most 120"
    assert problems(job) == [("training.batch_size", message)]


def test_all_problems_of_the_data_are_reported_at_once(make_job):
    architecture = {"family": "cnn", "kernel": 9, "channels": [8, 8, 8, 8]}
    job = make_job("image-classification", "digits", architecture=architecture, training={"batch_size": 5000})
    assert problems(job) == [
        ("architecture.kernel", "9 is larger than the 8x8 images; use at most 7"),
        ("architecture.channels", "4 stages halve 8x8 images to nothing; use at most 3"),
        ("training.batch_size", "5000 is more than the 1438 training samples; use at most 1438"),
    ]


def test_a_metric_of_an_empty_validation_part_is_reported(make_job, tmp_path: Path):
    path = tmp_path / "few.csv"
    pd.DataFrame({"x": [1.0, 2.5, 2.0, 4.0], "y": [1.0, 2.0, 3.0, 4.0]}).to_csv(path, index=False)
    dataset = {"source": str(path), "columns": {"label": "y"}, "split": {"train": 0.9, "val": 0.05, "test": 0}}
    training = {"checkpoint": {"best": "rmse/val"}, "early_stopping": {"metric": "loss/val"}}
    empty = "cannot be measured: the validation part is empty"
    assert problems(make_job("tabular-regression", dataset, training=training)) == [
        ("training.checkpoint.best", f"'rmse/val' {empty}; use rmse/train, or give dataset.split.val a larger share"),
        (
            "training.early_stopping.metric",
            f"'loss/val' {empty}; use loss/train, or give dataset.split.val a larger share",
        ),
    ]
    assert prepare(make_job("tabular-regression", dataset)).best == ("rmse/train", "min")


def test_precision_and_threads_are_chosen_once(make_job):
    chosen = choose(prepare(make_job("tabular-classification", "xor")), ALONE)
    assert chosen.job.training.precision in {"fp32", "bf16"}
    assert chosen.job.resources.cpus
    assert choose(chosen, ALONE).job == chosen.job


def test_settings_of_the_job_are_not_overridden(make_job):
    sections = {"training": {"precision": "bf16"}, "resources": {"cpus": 1}}
    prepared = prepare(make_job("tabular-classification", "xor", **sections))
    assert choose(prepared, ALONE).job == prepared.job


def test_a_run_limited_by_time_gets_a_number_of_steps(make_job):
    job = make_job("tabular-classification", "xor", training={"time": "2 s", "precision": "fp32"})
    chosen = choose(prepare(job), ALONE)
    assert chosen.job.training.steps is not None
    assert chosen.steps >= 1
    assert choose(chosen, ALONE).job == chosen.job


def test_autotuning_neither_draws_random_numbers_nor_trains(make_job):
    prepared = prepare(make_job("tabular-classification", "xor", architecture={"family": "mlp", "dropout": 0.5}))
    before = torch.get_rng_state()
    chosen = choose(prepared, ALONE)
    assert torch.equal(torch.get_rng_state(), before)
    assert np.array_equal(chosen.data.parts["train"].ids, prepared.data.parts["train"].ids)
