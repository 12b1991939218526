"""Every job file that Stoker ships has an explaining header, makes a plan and trains."""

from itertools import islice
from pathlib import Path

import pytest
import torch

from stoker.datasets.inspection import inspect
from stoker.job.architecture.choice import FAMILIES
from stoker.job.dataset import BUILTIN
from stoker.job.task import TASKS
from stoker.jobfile.loading import load_job
from stoker.planning.run import make_plan
from stoker.training.assembly import assemble, prepare
from stoker.training.loop import StepEnd, start, train

JOBS = sorted((Path(__file__).parents[1] / "jobs").glob("*.yaml"))


@pytest.fixture(autouse=True)
def own_network(monkeypatch):
    """Make the modules next to the job file importable, as in a run."""
    monkeypatch.syspath_prepend(JOBS[0].parent)


@pytest.mark.parametrize("path", JOBS, ids=lambda path: path.stem)
class TestJob:
    def test_opens_with_its_purpose_the_command_and_the_expected_result(self, path):
        purpose, command, expectation, after = path.read_text().splitlines()[:4]
        assert purpose.startswith("# ")
        assert command.startswith(f"# stoker submit jobs/{path.name}")
        assert any(unit in expectation for unit in ("second", "minute"))
        assert any(metric in expectation for metric in ("accuracy/", "r2/", "rmse/"))
        assert not after.startswith("#")

    def test_makes_a_plan(self, path):
        plan = make_plan(load_job(path, inspect=inspect).job)
        assert plan.parameters > 0
        assert plan.steps > 0

    def test_trains_for_two_steps(self, path):
        job = load_job(path, ["training.precision=fp32"]).job
        events = list(islice(train("two-steps", start(assemble(prepare(job)))), 2))
        assert all(isinstance(event, StepEnd) for event in events)
        assert all(torch.isfinite(event.losses["loss"]) for event in events)


def test_the_jobs_cover_every_task_family_and_dataset():
    jobs = [load_job(path).job for path in JOBS]
    assert {job.task for job in jobs} == set(TASKS)
    assert {job.dataset.source for job in jobs} == set(BUILTIN)
    assert {job.architecture.family for job in jobs if job.architecture} == set(FAMILIES)
