import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from stoker.errors import JobError
from stoker.job.goals import Goal, goals_of
from stoker.job.sweep import Asha, Sweep, SweepMetric, TpeSearch
from stoker.jobfile.loading import dump_job, load_job, parse_job
from stoker.jobfile.space.point import point_job

HEAD = "task: image-classification\ndataset: digits\narchitecture: mlp\ntraining: {epochs: 4}\n"
LR = "{training.optimizer.lr: {min: 1e-4, max: 1e-1, log: true}}"


def mistakes(text: str, *sets: str) -> list[str]:
    with pytest.raises(JobError) as raised:
        parse_job(text, "job.yaml", sets)
    return [f"{p.line}:{p.column} {p.message}" for p in raised.value.problems]


def sweep_of(text: str) -> Sweep:
    sweep = parse_job(text, "job.yaml").job.sweep
    assert sweep
    return sweep


def test_every_key_survives_a_dump_and_a_load():
    text = f"""{HEAD}sweep:
  metric: accuracy/val
  trials: 40
  parallel: 8
  time: 2 h
  search: {{type: tpe, seed: 0, first: [{{training.optimizer.lr: 3e-4}}]}}
  scheduler: {{type: asha, min: 2 epochs, reduction: 3}}
  failures: 5
  keep: 3
  space:
    training.optimizer:
      - {{type: adamw, lr: {{min: 1e-5, max: 1e-2, log: true}}}}
      - {{type: sgd, lr: {{min: 1e-3, max: 1e-1, log: true}}, momentum: {{min: 0.8, max: 0.99}}}}
    architecture.hidden: [[64], [128, 64]]
    training.batch_size: {{min: 16, max: 256, power: 2}}
    training.micro_batch: {{from: training.batch_size // 2}}
    training.gradient_clip: [null, 1.0]
  where: ["training.batch_size <= 128 or architecture.hidden != [64]"]
"""
    job = parse_job(text, "job.yaml").job
    assert job.sweep
    assert job.sweep.metric == (SweepMetric(name="accuracy/val"),)
    assert isinstance(job.sweep.search, TpeSearch)
    assert job.sweep.scheduler == Asha(type="asha", min="2 epochs", reduction=3)
    assert parse_job(dump_job(job), "job.yaml").job == job


def test_bare_words_stand_for_objects_and_most_keys_are_optional():
    sweep = sweep_of(f"{HEAD}sweep: {{trials: 3, search: sobol, scheduler: median, space: {LR}}}\n")
    assert (sweep.search.type, sweep.scheduler.type, sweep.metric, sweep.keep) == ("sobol", "median", None, 1)
    assert sweep_of(f"{HEAD}sweep: {{time: 1 h, space: {LR}}}\n").trials is None
    assert sweep_of(f"{HEAD}sweep: {{search: grid, space: {{architecture.hidden: [[8], [4]]}}}}\n").trials is None


@pytest.mark.parametrize(
    ("metric", "expected"),
    [
        ("", [Goal("accuracy/val", "max")]),
        ("metric: loss/train,", [Goal("loss/train", "min")]),
        ("metric: [accuracy/val, parameters, seconds],",
         [Goal("accuracy/val", "max"), Goal("parameters", "min"), Goal("seconds", "min")]),
    ],
)  # fmt: skip
def test_each_goal_has_a_direction(metric: str, expected: list[Goal]):
    job = parse_job(f"{HEAD}sweep: {{{metric} trials: 3, space: {LR}}}\n", "job.yaml").job
    assert list(goals_of(job)) == expected


def test_a_term_of_a_custom_loss_needs_a_direction():
    head = "task: image-classification\ndataset: digits\narchitecture: {family: custom, class: nets:Net}\n"
    job = parse_job(
        f"{head}sweep: {{metric: {{name: kl/val, direction: max}}, trials: 3, "
        "space: {architecture.width: [8, 16]}}\n",
        "job.yaml",
    ).job
    assert goals_of(job) == (Goal("kl/val", "max"),)
    assert point_job(job, {"architecture.width": 8}).training.checkpoint.best is None
    assert mistakes(f"{head}sweep: {{metric: kl/val, trials: 3, space: {{architecture.width: [8, 16]}}}}\n") == [
        "4:17 'kl/val' is a term of your own loss; set its direction: metric: {name: kl/val, direction: min}"
    ]


def test_the_sweeps_metric_selects_the_weights_of_a_trial_unless_the_job_names_another():
    text = HEAD + "sweep: {metric: %s, trials: 3, space: %s}\n"
    values = {"training.optimizer.lr": 0.01}

    def best(metric: str, *sets: str) -> str | None:
        job = parse_job(text % (metric, LR), "job.yaml", sets).job
        trial = point_job(job, values)
        assert (trial.sweep, trial.training.optimizer.lr) == (None, 0.01)
        return trial.training.checkpoint.best

    assert best("f1/val") == "f1/val"
    assert best("f1/val", "training.checkpoint.best=loss/val") == "loss/val"
    assert best("[f1/val, parameters]") is None


def test_the_choice_that_contains_a_searched_key_may_be_set_on_the_command_line():
    text = f"{HEAD}sweep: {{trials: 9, space: {LR}}}\n"
    job = parse_job(text, "job.yaml", ["training.optimizer=sgd"]).job
    assert point_job(job, {"training.optimizer.lr": 0.02}).training.optimizer.model_dump()["momentum"] == 0.9


def test_an_entry_of_the_space_replaces_that_of_the_extended_file(tmp_path: Path):
    (tmp_path / "base.yaml").write_text(
        f"{HEAD}sweep:\n  trials: 9\n  space:\n    training.optimizer.lr: {{min: 1e-4, max: 1, log: true}}\n"
        "    training.batch_size: [8, 16]\n"
    )
    child = tmp_path / "child.yaml"
    child.write_text(
        "extends: base.yaml\nsweep:\n  trials: 3\n  space:\n    training.optimizer.lr: {min: 0.1, max: 1}\n"
    )
    sweep = load_job(child, ["sweep.space.training.batch_size=[4, 8]", "sweep.search=tpe"]).job.sweep
    assert sweep
    assert sweep.space == {"training.optimizer.lr": {"min": 0.1, "max": 1}, "training.batch_size": [4, 8]}
    assert (sweep.trials, sweep.search.type) == (3, "tpe")


def test_replacing_an_entry_keeps_the_marks_of_its_neighbours(tmp_path: Path):
    (tmp_path / "base.yaml").write_text(
        f"{HEAD}sweep:\n  trials: 9\n  space:\n    training.optimizer: [sgd, adam]\n"
        "    training.optimizer.lr: {min: 2, max: 1}\n"
    )
    child = tmp_path / "child.yaml"
    child.write_text("extends: base.yaml\nsweep: {space: {training.optimizer: [sgd, adamw]}}\n")
    with pytest.raises(JobError) as raised:
        load_job(child)
    [problem] = raised.value.problems
    assert (Path(problem.file).name, problem.line, problem.column) == ("base.yaml", 9, 34)


@pytest.mark.parametrize("expressions", [False, True])
def test_simpleeval_is_imported_only_for_a_sweep_with_expressions(expressions: bool, tmp_path: Path):
    path = tmp_path / "job.yaml"
    where = "where: ['training.optimizer.lr < 1'], " if expressions else ""
    path.write_text(f"{HEAD}sweep: {{trials: 3, {where}space: {LR}}}\n")
    program = f"import sys\nfrom stoker.jobfile.loading import load_job\nload_job({str(path)!r})\n"
    program += "print('simpleeval' in sys.modules, [n for n in ('optuna', 'numpy', 'torch') if n in sys.modules])"
    printed: Any = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert printed == f"{expressions} []\n"
