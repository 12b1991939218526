"""Trials that are compared by a metric that not every epoch has."""

import pytest

from stoker.execution.sweeps.schedulers import decision_epochs
from stoker.execution.sweeps.trial_actor import TrialUpdate
from stoker.execution.sweeps.trials import Trials
from stoker.execution.worker_folder import FolderUpdate
from stoker.jobfile.loading import parse_job
from stoker.jobfile.space.reading import read_space
from stoker.search.search import Search
from stoker.tracking.run import RunHeader
from stoker.tracking.run_folder import RunFolder
from stoker.tracking.trials import EpochReport

JOB = """
task: image-generation
dataset: digits
training: {epochs: 20, evaluate: {every: 3}}
sweep:
  trials: 4
  metric: frechet/val
  scheduler: {type: asha, min: 1 epoch, reduction: 4}
  space: {training.gradient_clip: {min: 0.1, max: 1}}
"""


@pytest.mark.parametrize(("metric", "expected"), [("frechet/val", (3, 6, 18)), ("loss/val", (1, 4, 16))])
def test_asha_decides_in_epochs_with_the_metric(metric: str, expected: tuple[int, ...]):
    assert decision_epochs(parse_job(JOB, "job.yaml", (f"sweep.metric={metric}",)).job) == expected


def test_epochs_without_the_metric_have_no_score(tmp_path):
    job = parse_job(JOB, "job.yaml").job
    folder = RunFolder(tmp_path / "runs" / "s-1")
    folder.create(RunHeader("s-1", "s", "image-generation", "gan", "digits", 1.0, 1, "", ""), JOB)
    trials = Trials(folder, job, Search(job, read_space(job)), 4)
    assert trials.begin() == 0
    values = {1: {}, 2: {}, 3: {"frechet/val": 7.0}, 4: {}, 5: {}, 6: {"frechet/val": float("nan")}, 7: {}}
    reports = tuple(EpochReport(epoch, 10 * epoch, {"loss/val": 1.0, **more}) for epoch, more in values.items())
    scores = trials.take(0, TrialUpdate(reports, None, FolderUpdate()))
    assert scores == trials.known_scores(0)
    assert [epoch for epoch, _ in scores] == [3, 6]
    assert scores[0][1] == 7.0
    assert scores[1][1] > 1e9  # a value that is not finite is the worst
    trial = trials.trial(0)
    assert trial.score("frechet/val", "min") == 7.0
    assert trial.latest("loss/val") == 1.0
    assert trial.latest("accuracy/val") is None
    trials.close()
