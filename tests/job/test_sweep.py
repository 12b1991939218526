import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from stoker.errors import JobError
from stoker.job.goals import Aim, aims
from stoker.job.sweep import Asha, Goal, Sweep, TpeSearch
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


def test_the_whole_vocabulary_reads_and_comes_back_the_same():
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
    assert job.sweep.metric == (Goal(name="accuracy/val"),)
    assert isinstance(job.sweep.search, TpeSearch)
    assert job.sweep.scheduler == Asha(type="asha", min="2 epochs", reduction=3)
    assert parse_job(dump_job(job), "job.yaml").job == job


def test_words_stand_for_objects_and_little_is_needed():
    sweep = sweep_of(f"{HEAD}sweep: {{trials: 3, search: sobol, scheduler: median, space: {LR}}}\n")
    assert (sweep.search.type, sweep.scheduler.type, sweep.metric, sweep.keep) == ("sobol", "median", None, 1)
    assert sweep_of(f"{HEAD}sweep: {{time: 1 h, space: {LR}}}\n").trials is None
    assert sweep_of(f"{HEAD}sweep: {{search: grid, space: {{architecture.hidden: [[8], [4]]}}}}\n").trials is None


@pytest.mark.parametrize(
    ("metric", "expected"),
    [
        ("", [Aim("accuracy/val", "max")]),
        ("metric: loss/train,", [Aim("loss/train", "min")]),
        ("metric: [accuracy/val, parameters, seconds],",
         [Aim("accuracy/val", "max"), Aim("parameters", "min"), Aim("seconds", "min")]),
    ],
)  # fmt: skip
def test_each_aim_has_a_direction(metric: str, expected: list[Aim]):
    job = parse_job(f"{HEAD}sweep: {{{metric} trials: 3, space: {LR}}}\n", "job.yaml").job
    assert list(aims(job)) == expected


def test_a_term_of_an_own_loss_says_its_direction():
    head = "task: image-classification\ndataset: digits\narchitecture: {family: custom, class: nets:Net}\n"
    job = parse_job(
        f"{head}sweep: {{metric: {{name: kl/val, direction: max}}, trials: 3, "
        "space: {architecture.width: [8, 16]}}\n",
        "job.yaml",
    ).job
    assert aims(job) == (Aim("kl/val", "max"),)
    assert point_job(job, {"architecture.width": 8}).training.checkpoint.best is None
    assert mistakes(f"{head}sweep: {{metric: kl/val, trials: 3, space: {{architecture.width: [8, 16]}}}}\n") == [
        "4:17 'kl/val' is a term of your own loss; say which way it is better: metric: {name: kl/val, direction: min}"
    ]


def test_the_metric_of_the_sweep_picks_the_weights_of_a_trial_unless_the_job_says_which():
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


BAD: list[tuple[str, list[str]]] = [
    # what stands in the sweep after `trials: 9, `, and what is said of it
    (f"metric: accuracy/vall, space: {LR}",
     ["5:28 'accuracy/vall' is not a metric of image-classification; did you mean 'accuracy/val'?"]),
    (f"metric: rmse/val, space: {LR}",
     ["5:28 'rmse/val' is not a metric of image-classification; known are loss, accuracy, f1, auroc, "
      "each with /val or /train"]),
    (f"metric: accuracy, space: {LR}", ["5:28 'accuracy' names no part; use accuracy/val or accuracy/train"]),
    (f"metric: parameters, space: {LR}",
     ["5:28 'parameters' alone is best for a trial that learns nothing; write metric: [loss/val, parameters]"]),
    (f"metric: [loss/val, loss/val], space: {LR}", ["5:39 'loss/val' stands twice; keep one"]),
    (f"metric: [loss/val, second], space: {LR}", ["5:39 'second' is no metric; did you mean 'seconds'?"]),
    (f"metric: {{name: loss/val, direction: max}}, space: {LR}",
     ["5:28 'loss/val' is better the smaller it is; leave direction out"]),
    ("space: {training.optimizer.learning_rate: [1, 2]}",
     ["5:62 training.optimizer.learning_rate is no key of a job; did you mean 'training.optimizer.lr'?"]),
    ("space: {training.batchsize: [1, 2]}",
     ["5:48 training.batchsize is no key of a job; did you mean 'training.batch_size'?"]),
    ("space: {architecture.channels: [[1], [2]]}",
     ["5:51 architecture.channels belongs to cnn and unet and gan; here architecture is mlp"]),
    ("space: {training.optimizer.momentum: [0.8, 0.9]}",
     ["5:57 training.optimizer.momentum belongs to sgd and muon; here training.optimizer is adamw"]),
    ("space: {resources.workers: [1, 2]}",
     ["5:47 resources.workers cannot be searched: all trials get the same resources, so that they fit side by side"]),
    ("space: {tracking.experiment: [a, b]}",
     ["5:49 tracking.experiment cannot be searched: all trials are recorded in one place"]),
    ("space: {name: [a, b]}", ["5:34 name cannot be searched: a trial's name comes from the sweep's"]),
    ("space: {training: {optimizer: {lr: {min: 1e-4, max: 1}}}}",
     ["5:38 a key of the space is one dotted path: write training.optimizer.lr: {min: 0.0001, max: 1}"]),
    ("space: {training.optimizer.lr: 0.1}",
     ["5:51 expected a list (a choice), {min, max} (a range) or {from: ...}, got 0.1; a value that all trials share "
      "stands under training.optimizer.lr itself"]),
    ("space: {training.optimizer.lr: {min: 1, max: 0.1}}", ["5:57 min (1) must be below max (0.1)"]),
    ("space: {training.optimizer.lr: {min: 0.1}}", ["5:51 a range needs both min and max; 'max' is missing"]),
    ("space: {training.optimizer.lr: {min: 0, max: 0.1, log: true}}",
     ["5:57 a log range begins above 0, not at 0; use min: 0.0001 or no log"]),
    ("space: {training.optimizer.lr: {min: slow, max: 0.1}}", ["5:57 slow is not a number (example: min: 3e-4)"]),
    ("space: {training.optimizer.lr: {min: 0.1, max: .inf}}", ["5:67 inf is not a number (example: max: 3e-4)"]),
    ("space: {training.optimizer.lr: {min: 0.1, max: 0.2, lgo: true}}",
     ["5:77 unknown key for a range; known are min, max, log, step, power"]),
    ("space: {training.batch_size: {min: 16, max: 100, power: 2}}",
     ["5:64 100 is no power of 2; use 64 or 128"]),
    ("space: {training.batch_size: {min: 16.5, max: 100}}",
     ["5:55 16.5 is not a whole number, and the key takes no other"]),
    ("space: {architecture.dropout: {min: 0, max: 0.5, step: 0.2}}",
     ["5:64 steps of 0.2 do not end at 0.5; use max: 0.4 or 0.6"]),
    ("space: {architecture.dropout: {min: 0.1, max: 0.5, log: true, step: 0.2}}",
     ["5:88 step does not go with log; leave one out"]),
    ("space: {training.precision: {min: 0, max: 1}}",
     ["5:48 a range is of numbers, and here stands auto | fp32 | bf16; write a list of values"]),
    ("space: {architecture.hidden: [[64]]}",
     ["5:49 a choice of one leaves nothing to search; set architecture.hidden itself and take it out of the space"]),
    ("space: {architecture.hidden: [[64], [8], [64]]}", ["5:61 [64] stands twice in this choice; keep one"]),
    ("space: {training.optimizer: [sgd, {type: sgd}]}", ["5:54 {type: sgd} stands twice in this choice; keep one"]),
    ("space: {training.optimizer: [sgd, {type: adam, lr: 0.1}], training.optimizer.lr: [0.1, 0.2]}",
     ["5:101 training.optimizer.lr is also in an option of training.optimizer; say it in one place"]),
    (f"search: grid, space: {LR}",
     ["5:65 a grid has no end over a continuous range; give it a step or a power, write a list of values, or use "
      "search: sobol"]),
    (f"search: cmaes, space: {LR}", ["5:28 cmaes needs two ranges or more that every trial has; use tpe"]),
    (f"search: {{type: tpe, first: [{{training.optimizer.lr: 3}}]}}, space: {LR}",
     ["5:72 3 is not in the range from 0.0001 to 0.1"]),
    (f"search: {{type: tpe, first: [{{training.batch_size: 3}}]}}, space: {LR}",
     ["5:70 training.batch_size is not in sweep.space"]),
    ("search: {type: gp, first: [{training.optimizer: adam}]}, space: {training.optimizer: [sgd, adamw]}",
     ["5:68 adam is none of what sweep.space.training.optimizer offers"]),
    (f"metric: [loss/val, seconds], scheduler: asha, space: {LR}",
     ["5:60 asha compares trials by one metric; name one, or use none"]),
    (f"scheduler: {{type: asha, min: 9 epochs}}, space: {LR}",
     ["5:49 9 epochs is more than training.epochs (4); use 4 or less"]),
    (f"scheduler: {{type: median, min: 50%}}, space: {LR}",
     ["5:51 '50%' is no whole number of epochs, after which trials are compared (example: 2 epochs)"]),
    (f"scheduler: {{type: pbt, every: 5}}, space: {LR}",
     ["5:50 5 epochs is more than training.epochs (4); use 4 or less"]),
    (f"scheduler: pbt, search: tpe, space: {LR}",
     ["5:44 tpe cannot learn from trials whose values pbt changes; use random or sobol"]),
    ("scheduler: pbt, space: {training.batch_size: {min: 16, max: 64}}",
     ["5:65 training.batch_size cannot change while a trial trains; pbt searches training.optimizer.lr, "
      "training.optimizer.weight_decay, training.optimizer.momentum, training.gradient_clip; use asha for others"]),
    ("scheduler: pbt, space: {training.gradient_clip: [null, 1]}",
     ["5:68 null is not a number, and pbt changes numbers only"]),
    ("scheduler: pb2, space: {training.optimizer.lr: [0.1, 0.2]}",
     ["5:67 pb2 needs a continuous range such as {min: 1e-4, max: 1e-1}; use it without step or power, or use pbt"]),
    ("space: {training.micro_batch: {from: training.batchsize // 2}, training.batch_size: [8, 16]}",
     ["5:57 training.batchsize is no key of a job; did you mean 'training.batch_size'?"]),
    ("space: {training.micro_batch: {from: training.batch_size / }, training.batch_size: [8, 16]}",
     ["5:57 'training.batch_size /' is no expression: see character 22 (example: training.batch_size <= 128)"]),
    ("space: {training.micro_batch: {from: training.batch_size}, training.batch_size: {from: training.micro_batch}}",
     ["5:50 training.batch_size and training.micro_batch follow from each other in a circle"]),
    (f"where: ['training.batch_size < 10'], space: {LR}",
     ["5:28 'training.batch_size < 10' cannot be computed: training.batch_size has no value, "
      "with training.optimizer.lr = 0.0001"]),
    (f"where: ['open(1)'], space: {LR}",
     ["5:28 'open(1)' 'open' is no function here; known are min, max, abs, round, len, int"]),
    (f"where: ['training.optimizer.lr > 1'], space: {LR}",
     ["5:28 no point of 1000 meets every condition; 'training.optimizer.lr > 1' "
      "forbids training.optimizer.lr = 0.0001"]),
    ("space: {training.optimizer.lr: {min: 0.1, max: 5000}}",
     ["5:51 with training.optimizer.lr = 5000: 5000 is too large: at most 1000"]),
    ("space: {training.optimizer: [sgd, {type: adam, momentum: 0.9}]}",
     ["5:77 with training.optimizer = {type: adam, momentum: 0.9}: training.optimizer.momentum unknown key for adam; "
      "'momentum' belongs to sgd and muon"]),
    ("space: {training.optimizer: [sgd, {type: adam, momentum: {min: 0, max: 0.5}}]}",
     ["5:77 training.optimizer.momentum belongs to sgd and muon; here training.optimizer is adam"]),
    ("space: {training.batch_size: [8, 16], training.micro_batch: [4, 32]}",
     ["5:84 with training.micro_batch = 32: 32 is more than training.batch_size (8); use 8 or less"]),
    ("space: {}", ["5:27 expected at least 1 entry, got none"]),
]  # fmt: skip


@pytest.mark.parametrize(("written", "expected"), BAD, ids=[written for written, _ in BAD])
def test_a_mistake_is_told_at_its_place_with_the_cure(written: str, expected: list[str]):
    assert mistakes(f"{HEAD}sweep: {{trials: 9, {written}}}\n") == expected


def test_a_sweep_needs_an_end():
    assert mistakes(f"{HEAD}sweep: {{space: {LR}}}\n") == [
        "5:1 required unless time is given or search is grid (example: trials: 40)"
    ]


@pytest.mark.parametrize("kind", ["pbt", "pb2", "hyperband"])
def test_schedulers_that_exchange_trials_need_one_worker_and_a_known_length(kind: str):
    text = f"{HEAD}sweep: {{trials: 9, scheduler: {kind}, space: {LR}}}\n"
    parse_job(text, "job.yaml")
    assert mistakes(text, "resources.workers=2") == [
        f"5:31 {kind} pauses and exchanges trials, which needs trials of one worker; "
        "set resources.workers: 1, or use asha"
    ]
    no_epochs = text.replace("{epochs: 4}", "{time: 10 min}")
    assert mistakes(no_epochs) == [
        f"5:31 {kind} must know how many epochs a trial has; set training.epochs, or use asha"
    ]


@pytest.mark.parametrize("size", ["trials: 1", "time: 2 h"])
def test_a_population_has_a_size(size: str):
    place = "5:17" if size == "trials: 1" else "5:1"
    assert mistakes(f"{HEAD}sweep: {{{size}, scheduler: pbt, space: {LR}}}\n") == [
        f"{place} pbt lets so many trials go on from each other; use 2 or more (example: trials: 8)"
    ]


@pytest.mark.parametrize("given", ["training.optimizer.lr=0.1", "training.optimizer={type: sgd}"])
def test_what_is_searched_cannot_be_given_on_the_command_line(given: str):
    head = HEAD.replace("epochs: 4", "optimizer: adamw")
    text = f"{head}sweep: {{trials: 9, space: {{training.optimizer: [sgd, adam]}}}}\n"
    path = given.partition("=")[0]
    assert mistakes(text, given) == [
        f"5:48 {path} is given by --set, but training.optimizer is searched; take it out of one of them"
    ]


def test_a_searched_key_of_the_job_s_own_choice_may_have_that_choice_given():
    text = f"{HEAD}sweep: {{trials: 9, space: {LR}}}\n"
    job = parse_job(text, "job.yaml", ["training.optimizer=sgd"]).job
    assert point_job(job, {"training.optimizer.lr": 0.02}).training.optimizer.model_dump()["momentum"] == 0.9


def test_a_file_over_another_replaces_an_entry_of_the_space_whole(tmp_path: Path):
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


def test_marks_of_neighbours_survive_when_an_entry_is_replaced(tmp_path: Path):
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
def test_simpleeval_waits_for_a_sweep_with_expressions(expressions: bool, tmp_path: Path):
    path = tmp_path / "job.yaml"
    where = "where: ['training.optimizer.lr < 1'], " if expressions else ""
    path.write_text(f"{HEAD}sweep: {{trials: 3, {where}space: {LR}}}\n")
    program = f"import sys\nfrom stoker.jobfile.loading import load_job\nload_job({str(path)!r})\n"
    program += "print('simpleeval' in sys.modules, [n for n in ('optuna', 'numpy', 'torch') if n in sys.modules])"
    printed: Any = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert printed == f"{expressions} []\n"
