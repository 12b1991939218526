import pytest

from stoker.errors import JobError
from stoker.jobfile.loading import parse_job

HEAD = "task: image-classification\ndataset: digits\narchitecture: mlp\ntraining: {epochs: 4}\n"
LR = "{training.optimizer.lr: {min: 1e-4, max: 1e-1, log: true}}"


def mistakes(text: str, *sets: str) -> list[str]:
    with pytest.raises(JobError) as raised:
        parse_job(text, "job.yaml", sets)
    return [f"{p.line}:{p.column} {p.message}" for p in raised.value.problems]


MISTAKES: list[tuple[str, list[str]]] = [
    # text of the sweep after `trials: 9, `, and the reported mistakes
    (f"metric: accuracy/vall, space: {LR}",
     ["5:28 'accuracy/vall' is not a metric of image-classification; did you mean 'accuracy/val'?"]),
    (f"metric: rmse/val, space: {LR}",
     ["5:28 'rmse/val' is not a metric of image-classification; known are loss, accuracy, f1, auroc, "
      "each with /val or /train"]),
    (f"metric: accuracy, space: {LR}",
     ["5:28 'accuracy' needs a part of the data; use accuracy/val or accuracy/train"]),
    (f"metric: parameters, space: {LR}",
     ["5:28 'parameters' alone is best for a trial that learns nothing; write metric: [loss/val, parameters]"]),
    (f"metric: [loss/val, loss/val], space: {LR}", ["5:39 'loss/val' appears twice; keep one"]),
    (f"metric: [loss/val, second], space: {LR}", ["5:39 'second' is not a metric; did you mean 'seconds'?"]),
    (f"metric: {{name: loss/val, direction: max}}, space: {LR}",
     ["5:28 'loss/val' is better the smaller it is; leave direction out"]),
    ("space: {training.optimizer.learning_rate: [1, 2]}",
     ["5:62 training.optimizer.learning_rate is not a key of a job; did you mean 'training.optimizer.lr'?"]),
    ("space: {training.batchsize: [1, 2]}",
     ["5:48 training.batchsize is not a key of a job; did you mean 'training.batch_size'?"]),
    ("space: {architecture.channels: [[1], [2]]}",
     ["5:51 architecture.channels belongs to cnn and unet and detector and autoencoder and feature-distance and "
      "captioner and gan and vae and diffusion; here architecture is mlp"]),
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
     ["5:51 expected a list (a choice), {min, max} (a range) or {from: ...}, got 0.1; for one value in all trials "
      "set training.optimizer.lr itself"]),
    ("space: {training.optimizer.lr: {min: 1, max: 0.1}}", ["5:57 min (1) must be below max (0.1)"]),
    ("space: {training.optimizer.lr: {min: 0.1}}", ["5:51 a range needs both min and max; 'max' is missing"]),
    ("space: {training.optimizer.lr: {min: 0, max: 0.1, log: true}}",
     ["5:57 a log range must begin above 0, not at 0; use min: 0.0001 or no log"]),
    ("space: {training.optimizer.lr: {min: slow, max: 0.1}}", ["5:57 slow is not a number (example: min: 3e-4)"]),
    ("space: {training.optimizer.lr: {min: 0.1, max: .inf}}", ["5:67 inf is not a number (example: max: 3e-4)"]),
    ("space: {training.optimizer.lr: {min: 0.1, max: 0.2, lgo: true}}",
     ["5:77 unknown key for a range; known are min, max, log, step, power"]),
    ("space: {training.batch_size: {min: 16, max: 100, power: 2}}",
     ["5:64 100 is not a power of 2; use 64 or 128"]),
    ("space: {training.batch_size: {min: 16.5, max: 100}}",
     ["5:55 16.5 is not a whole number, which this key needs"]),
    ("space: {architecture.dropout: {min: 0, max: 0.5, step: 0.2}}",
     ["5:64 steps of 0.2 do not end at 0.5; use max: 0.4 or 0.6"]),
    ("space: {architecture.dropout: {min: 0.1, max: 0.5, log: true, step: 0.2}}",
     ["5:88 step cannot be combined with log; leave one out"]),
    ("space: {training.precision: {min: 0, max: 1}}",
     ["5:48 a range needs a key that takes numbers, this one takes auto | fp32 | bf16; write a list of values"]),
    ("space: {architecture.hidden: [[64]]}",
     ["5:49 a choice of one leaves nothing to search; set architecture.hidden itself and remove it from the space"]),
    ("space: {architecture.hidden: [[64], [8], [64]]}", ["5:61 [64] appears twice in this choice; keep one"]),
    ("space: {training.optimizer: [sgd, {type: sgd}]}", ["5:54 {type: sgd} appears twice in this choice; keep one"]),
    ("space: {training.optimizer: [sgd, {type: adam, lr: 0.1}], training.optimizer.lr: [0.1, 0.2]}",
     ["5:101 training.optimizer.lr is also in an option of training.optimizer; set it in one place only"]),
    (f"search: grid, space: {LR}",
     ["5:65 a grid cannot enumerate a continuous range; give it a step or a power, write a list of values, or use "
      "search: sobol"]),
    (f"search: cmaes, space: {LR}", ["5:28 cmaes needs two ranges or more that every trial has; use tpe"]),
    (f"search: {{type: tpe, first: [{{training.optimizer.lr: 3}}]}}, space: {LR}",
     ["5:72 3 is not in the range from 0.0001 to 0.1"]),
    (f"search: {{type: tpe, first: [{{training.batch_size: 3}}]}}, space: {LR}",
     ["5:70 training.batch_size is not in sweep.space"]),
    ("search: {type: gp, first: [{training.optimizer: adam}]}, space: {training.optimizer: [sgd, adamw]}",
     ["5:68 adam is not one of the options of sweep.space.training.optimizer"]),
    (f"metric: [loss/val, seconds], scheduler: asha, space: {LR}",
     ["5:60 asha compares trials by one metric; name one, or use none"]),
    (f"scheduler: {{type: asha, min: 9 epochs}}, space: {LR}",
     ["5:49 9 epochs is more than training.epochs (4); use 4 or less"]),
    (f"scheduler: {{type: median, min: 50%}}, space: {LR}",
     ["5:51 '50%' is not a whole number of epochs, after which trials are compared (example: 2 epochs)"]),
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
     ["5:57 training.batchsize is not a key of a job; did you mean 'training.batch_size'?"]),
    ("space: {training.micro_batch: {from: training.batch_size / }, training.batch_size: [8, 16]}",
     ["5:57 'training.batch_size /' is not an expression: see character 22 (example: training.batch_size <= 128)"]),
    ("space: {training.micro_batch: {from: training.batch_size}, training.batch_size: {from: training.micro_batch}}",
     ["5:50 training.batch_size and training.micro_batch depend on each other in a cycle"]),
    (f"where: ['training.batch_size < 10'], space: {LR}",
     ["5:28 'training.batch_size < 10' cannot be computed: training.batch_size has no value, "
      "with training.optimizer.lr = 0.0001"]),
    (f"where: ['open(1)'], space: {LR}",
     ["5:28 'open(1)' 'open' is not a function here; known are min, max, abs, round, len, int"]),
    (f"where: ['training.optimizer.lr > 1'], space: {LR}",
     ["5:28 none of 1000 points meets every condition; 'training.optimizer.lr > 1' "
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


@pytest.mark.parametrize(("entry", "expected"), MISTAKES, ids=[entry for entry, _ in MISTAKES])
def test_a_mistake_is_reported_at_its_position_with_the_cure(entry: str, expected: list[str]):
    assert mistakes(f"{HEAD}sweep: {{trials: 9, {entry}}}\n") == expected


def test_a_sweep_needs_trials_or_time():
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


def test_trials_are_exchanged_after_epochs_that_have_their_metric():
    head = "task: image-generation\ndataset: digits\ntraining: {epochs: 40, evaluate: {every: 4}}\n"
    space = "space: {training.gradient_clip: {min: 0.1, max: 1}}"
    text = f"{head}sweep: {{trials: 9, metric: frechet/val, scheduler: {{type: pbt, every: 6}}, {space}}}\n"
    assert mistakes(text) == [
        "4:71 frechet/val is computed every 4 epochs, not every 6 epochs (training.evaluate.every); "
        "use 4 epochs, or a multiple of it"
    ]
    parse_job(text, "job.yaml", ("sweep.scheduler.every=8",))
    parse_job(text, "job.yaml", ("sweep.metric=loss/val",))


@pytest.mark.parametrize("size", ["trials: 1", "time: 2 h"])
def test_a_population_needs_two_or_more_trials(size: str):
    place = "5:17" if size == "trials: 1" else "5:1"
    assert mistakes(f"{HEAD}sweep: {{{size}, scheduler: pbt, space: {LR}}}\n") == [
        f"{place} pbt copies trials from each other and needs 2 or more (example: trials: 8)"
    ]


@pytest.mark.parametrize("given", ["training.optimizer.lr=0.1", "training.optimizer={type: sgd}"])
def test_a_searched_key_cannot_be_set_on_the_command_line(given: str):
    head = HEAD.replace("epochs: 4", "optimizer: adamw")
    text = f"{head}sweep: {{trials: 9, space: {{training.optimizer: [sgd, adam]}}}}\n"
    path = given.partition("=")[0]
    assert mistakes(text, given) == [
        f"5:48 {path} is set by --set, but training.optimizer is searched; remove one of them"
    ]
