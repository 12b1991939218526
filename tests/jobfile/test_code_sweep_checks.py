"""Mistakes in the sweep of own code."""

import pytest

from stoker.errors import JobError
from stoker.job.own_code import CodeJob
from stoker.jobfile.loading import dump_job, parse_job
from stoker.jobfile.space.point import point_job

JOB = """
name: search
entrypoint: finetune:train
settings: {lr: 0.1, layers: {width: 8}}
sweep:
  metric: {name: score, direction: max}
  trials: 4
  space:
    settings.lr: {min: 1e-4, max: 1e-1, log: true}
    settings.layers.width: [8, 16]
"""


def mistakes(*sets: str, text: str = JOB) -> list[tuple[str, str]]:
    with pytest.raises(JobError) as caught:
        parse_job(text, "search.yaml", sets)
    return [(problem.path, problem.message) for problem in caught.value.problems]


def test_a_sweep_of_own_code_is_read_and_written():
    job = parse_job(JOB, "search.yaml").job
    assert isinstance(job, CodeJob)
    assert parse_job(dump_job(job), "search.yaml").job == job


def test_a_trial_has_the_settings_of_its_point_and_no_sweep():
    job = parse_job(JOB, "search.yaml").job
    trial = point_job(job, {"settings.lr": 0.01, "settings.layers.width": 16})
    assert isinstance(trial, CodeJob)
    assert trial.settings == {"lr": 0.01, "layers": {"width": 16}}
    assert trial.sweep is None


@pytest.mark.parametrize(
    ("sets", "path", "message"),
    [
        (["sweep.metric=null"], "sweep.metric", "required: what your code reports (example: metric: {name: loss"),
        (["sweep.metric=score"], "sweep.metric", "nobody knows whether your 'score' is better high or low"),
        (["sweep.metric=seconds"], "sweep.metric", "'seconds' alone is best for a trial that learns nothing"),
        (["sweep.scheduler=pbt"], "sweep.scheduler", "pbt must know how long a trial is"),
        (["sweep.scheduler=hyperband"], "sweep.scheduler", "own code has asha, median and none"),
        (["sweep.scheduler={type: asha, min: 5%}"], "sweep.scheduler.min", "'5%' is not a whole number of epochs"),
        (["sweep.trials=null"], "sweep.trials", "required unless time is given or search is grid"),
        (["tracking=none", "entrypoint=train.py"], "tracking", "the metrics of a script are read from MLflow"),
        (["sweep.space.resources.workers=[1, 2]"], "sweep.space.resources.workers", "own code is searched by its"),
        (["sweep.space.settings=[1, 2]"], "sweep.space.settings", "own code is searched by its settings, such as"),
        (["sweep.where=[lr < 1]"], "sweep.where.0", "lr is not a setting; write dotted paths, such as settings.lr"),
        (["settings.lr=1"], "sweep.space.settings.lr", "settings.lr is set by --set, but settings.lr is searched"),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_mistakes_are_named(sets, path, message):
    [(found, text)] = mistakes(*sets)
    assert found == path
    assert message in text


def test_two_metrics_have_no_scheduler():
    metric = "sweep.metric=[{name: loss, direction: min}, seconds]"
    assert parse_job(JOB, "search.yaml", [metric]).job.sweep.metric[1].name == "seconds"
    [(path, text)] = mistakes(metric, "sweep.scheduler=asha")
    assert (path, text) == ("sweep.scheduler", "asha compares trials by one metric; name one, or use none (from --set)")
