"""Every job file that Stoker ships: it teaches, it plans, it trains."""

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
from stoker.training.assembly import assemble, default_architecture, prepare
from stoker.training.loop import StepEnd, start, train

FOLDER = Path(__file__).parents[1] / "jobs"
JOBS = sorted(path for path in FOLDER.rglob("*.yaml") if not path.name.startswith("."))
OWN_DATA = {"nuclei-unet": (), "reviews-lstm": ("dataset.columns.label=label",)}
"""Jobs for data of the user's, and what else of them depends on its columns."""


@pytest.fixture(autouse=True)
def own_network(monkeypatch):
    """As in a run: the modules beside the job file can be imported."""
    monkeypatch.syspath_prepend(FOLDER)


@pytest.fixture
def settings(path, tiny_data) -> list[str]:
    """Name data for a job that comes without."""
    if path.stem not in OWN_DATA:
        return []
    return [f"dataset.source={tiny_data(load_job(path).job.task)['source']}", *OWN_DATA[path.stem]]


@pytest.mark.parametrize("path", JOBS, ids=lambda path: path.stem)
class TestJob:
    def test_says_what_it_shows_the_command_and_what_to_expect(self, path):
        what, command, expectation, after = path.read_text().splitlines()[:4]
        assert what.startswith("# ")
        assert command.startswith("# ")
        assert f"stoker submit jobs/{path.relative_to(FOLDER)}" in command
        assert any(unit in expectation for unit in ("second", "minute"))
        task = load_job(path).job.task
        if TASKS[task].best:
            assert any(metric in expectation.lower() for metric in TASKS[task].metrics.keys() - {"loss"})
        assert not after.startswith("#")

    def test_plans(self, path, settings):
        plan = make_plan(load_job(path, settings, inspect).job)
        assert plan.parameters > 0
        assert plan.steps > 0

    def test_trains_for_two_steps(self, path, settings):
        job = load_job(path, [*settings, "training.precision=fp32"]).job
        events = list(islice(train("two-steps", start(assemble(prepare(job)))), 2))
        assert all(isinstance(event, StepEnd) for event in events)
        assert all(event.losses for event in events)
        assert all(torch.isfinite(loss) for event in events for loss in event.losses.values())


def test_the_jobs_show_every_task_family_and_dataset():
    jobs = [load_job(path).job for path in JOBS]
    assert {job.task for job in jobs} == set(TASKS)
    own = {job.dataset.source for path, job in zip(JOBS, jobs, strict=True) if path.stem in OWN_DATA}
    assert {job.dataset.source for job in jobs} - own == set(BUILTIN)
    assert {(job.architecture or default_architecture(job.task)).family for job in jobs} == set(FAMILIES)
