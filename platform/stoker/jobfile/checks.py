"""Checks of a job's settings against each other, as far as they need no data."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from stoker.errors import Problem
from stoker.job.architecture.backbone import Backbone
from stoker.job.architecture.choice import Architecture
from stoker.job.architecture.cnn import Cnn
from stoker.job.architecture.custom import Custom
from stoker.job.architecture.gan import Gan
from stoker.job.architecture.pretrained import Pretrained
from stoker.job.dataset import Dataset
from stoker.job.environment import Environment
from stoker.job.own_code import AnyJob, CodeJob, Entrypoint
from stoker.job.resources import Elastic, Resources
from stoker.job.task import TASKS, TaskName
from stoker.job.training import Muon, Optimizer, Plateau, Sgd, Training
from stoker.jobfile.backbone_names import library_name
from stoker.jobfile.dataset_checks import column_problems, data_problems, tokenizer_problems
from stoker.jobfile.suggestion import did_you_mean

SHARDED_FAMILIES = ("mlp", "cnn", "vit", "transformer", "pretrained", "custom")
"""Families whose weights can be divided among the workers."""


@dataclass(frozen=True)
class Sections:
    """The valid sections of a job; a check runs if the sections that it needs are valid."""

    task: TaskName | None = None
    architecture: Architecture | None = None
    dataset: Dataset | None = None
    training: Training | None = None
    resources: Resources | None = None
    environment: Environment | None = None
    entrypoint: Entrypoint | None = None

    @property
    def code(self) -> Custom | Entrypoint | None:
        """What names the user's own code."""
        return self.entrypoint or (self.architecture if isinstance(self.architecture, Custom) else None)


def sections_of(job: AnyJob) -> Sections:
    """Return the sections of a valid job."""
    if isinstance(job, CodeJob):
        return Sections(resources=job.resources, environment=job.environment, entrypoint=job.entry)
    return Sections(job.task, job.architecture, job.dataset, job.training, job.resources, job.environment)


def check(sections: Sections) -> list[Problem]:
    """Return all mistakes."""
    found: list[Iterable[Problem]] = []
    if sections.architecture:
        found.append(architecture_problems(sections.architecture))
    if sections.architecture and sections.task:
        found.append(family_problems(sections.architecture, sections.task))
    if sections.dataset:
        found.append(column_problems(sections.dataset.columns))
        found.append(tokenizer_problems(sections.dataset.text, sections.architecture, sections.task))
    if sections.dataset and sections.task:
        found.append(data_problems(sections.dataset, sections.task))
    if sections.training:
        found.append(training_problems(sections.training))
    if sections.resources:
        found.append(node_problems(sections.resources, own_code=sections.entrypoint is not None))
        found.append(elastic_problems(sections))
    if sections.training and sections.resources:
        found.append(worker_problems(sections.training, sections.resources))
    if sections.training and sections.resources and sections.task:
        found.append(sharding_problems(sections))
    if sections.training and sections.architecture:
        found.append(average_problems(sections.training, sections.architecture))
    if sections.training and sections.task:
        found.append(loss_problems(sections.training, sections.task))
        found.append(metric_problems(sections.training, sections.task, sections))
        found.append(evaluation_problems(sections.training, sections.task))
    return [problem for each in found for problem in each]


def architecture_problems(architecture: Architecture) -> Iterator[Problem]:
    """Check the network's settings against each other."""
    if isinstance(architecture, Cnn) and architecture.kernel % 2 == 0:
        cure = f"use {architecture.kernel - 1} or {architecture.kernel + 1}"
        yield Problem("architecture.kernel", f"{architecture.kernel} is even; a kernel size must be odd: {cure}")
    if isinstance(architecture, Pretrained) and architecture.lora != "none" and architecture.frozen:
        message = "does nothing with lora, which trains none of the model's own weights; leave it out"
        yield Problem("architecture.frozen", message)
    backbone = getattr(architecture, "backbone", None)
    if isinstance(backbone, Backbone) and isinstance(problem := library_name(backbone), Problem):
        yield problem


def node_problems(resources: Resources, own_code: bool) -> Iterator[Problem]:
    """Check that the workers fill their nodes, and can use their GPUs."""
    workers, each = resources.most_workers, resources.workers_per_node
    for number in dict.fromkeys((resources.least_workers, workers)):
        if each and workers > each and number % each:
            lower, upper = number - number % each, number + each - number % each
            cure = f"use {f'{lower} or ' if lower else ''}{upper} workers"
            yield Problem(
                "resources.workers_per_node", f"{number} worker{'s' * (number > 1)} do not fill nodes of {each}; {cure}"
            )
    if workers > 1 and resources.gpus and resources.gpus < 1:
        cure = "use 1, or workers: 1"
        yield Problem("resources.gpus", f"{resources.gpus:g}: workers of one run cannot share a GPU; {cure}")
    if resources.gpus and resources.gpus > 1 and not own_code:
        cure = f"set workers: {workers * int(resources.gpus)} and gpus: 1"
        yield Problem("resources.gpus", f"each worker trains on one GPU, more are for an entrypoint; {cure}")


def elastic_problems(sections: Sections) -> Iterator[Problem]:
    """Check that the number of workers may change."""
    workers = sections.resources.workers if sections.resources else 1
    if not isinstance(workers, Elastic):
        return
    if workers.min > workers.max:
        cure = f"write {{min: {workers.max}, max: {workers.min}}}"
        yield Problem("resources.workers.min", f"{workers.min} is more than max ({workers.max}); {cure}")
    elif sections.training and sections.training.time and not (sections.training.epochs or sections.training.steps):
        message = "how many steps fit follows from the number of workers, which may change"
        yield Problem("training.time", f"{message}; set training.epochs or steps, too")
    elif sections.entrypoint is not None:
        message = f"nobody knows what your own code does with another number of workers; write workers: {workers.max}"
        yield Problem("resources.workers", message)


def family_problems(architecture: Architecture, task: TaskName) -> Iterator[Problem]:
    """Check that the network family can be used for the task."""
    allowed = TASKS[task].families
    if architecture.family not in allowed:
        message = f"{architecture.family} does not fit {task}; use {' or '.join(allowed)}"
        yield Problem("architecture.family", message)


def training_problems(training: Training) -> Iterator[Problem]:
    """Check the training settings against each other."""
    batch, micro = training.batch_size, training.micro_batch
    if batch is not None and micro is not None and micro > batch:
        message = f"{micro} is more than training.batch_size ({batch}); use {batch} or less"
        yield Problem("training.micro_batch", message)
    for path, optimizer in _optimizers(training).items():
        if isinstance(optimizer, Sgd) and optimizer.nesterov and optimizer.momentum == 0:
            yield Problem(f"{path}.nesterov", "needs a momentum above 0 (example: momentum: 0.9)")


def _optimizers(training: Training) -> dict[str, Optimizer]:
    """Return the optimizers by path."""
    path, chosen = "training.optimizer", training.optimizer
    return {f"{path}.{group}": each for group, each in chosen.items()} if isinstance(chosen, dict) else {path: chosen}


def loss_problems(training: Training, task: TaskName) -> Iterator[Problem]:
    """Check that the task's loss has the settings that are made."""
    for key in dict.fromkeys(key for row in TASKS.values() for key in row.loss_settings):
        if key not in TASKS[task].loss_settings and getattr(training, key) != getattr(Training(), key):
            fitting = ", ".join(name for name, row in TASKS.items() if key in row.loss_settings)
            yield Problem(f"training.{key}", f"does nothing for {task}; leave it out (it is for {fitting})")


def average_problems(training: Training, architecture: Architecture) -> Iterator[Problem]:
    """Check that weights are averaged in one way only."""
    if training.ema and isinstance(architecture, Gan):
        message = "does nothing for gan, which averages the weights of its generator itself; set architecture.ema"
        yield Problem("training.ema", message)


def worker_problems(training: Training, resources: Resources) -> Iterator[Problem]:
    """Check that every worker gets samples in each step."""
    batch, workers = training.batch_size, resources.most_workers
    if batch is not None and batch < workers:
        cure = f"use {workers} or more, or at most {batch} worker{'s' if batch > 1 else ''}"
        yield Problem("training.batch_size", f"{batch} is less than resources.workers ({workers}); {cure}")


def sharding_problems(sections: Sections) -> Iterator[Problem]:
    """Check that the weights can be divided among the workers."""
    training, resources, task = sections.training, sections.resources, sections.task
    assert training is not None
    assert resources is not None
    assert task is not None
    if training.parallel == "replicated":
        return
    place = "training.parallel"
    family = sections.architecture.family if sections.architecture else TASKS[task].families[0]
    if resources.most_workers == 1:
        yield Problem(place, "one worker has nothing to divide; set resources.workers, or leave it out")
    elif resources.least_workers == 1:
        yield Problem("resources.workers.min", "1: a single worker would hold all weights, which fsdp divides; use 2")
    if family not in SHARDED_FAMILIES:
        message = f"the weights of {family} are not divided, those of {', '.join(SHARDED_FAMILIES)} are; use replicated"
        yield Problem(place, message)
    for path, optimizer in _optimizers(training).items():
        if isinstance(optimizer, Muon):
            yield Problem(path, "muon computes with whole matrices, which fsdp divides; use adamw")
    if training.ema:
        yield Problem("training.ema", "averages whole weights, which fsdp divides; leave it out, or use replicated")
    if training.time and not (training.epochs or training.steps):
        cure = "set training.epochs or steps, too"
        yield Problem("training.time", f"its steps are found out by timing whole weights, which fsdp has not; {cure}")


def metric_problems(training: Training, task: TaskName, sections: Sections) -> Iterator[Problem]:
    """Check that the metrics exist and that there are samples to measure them on."""
    split = sections.dataset.split if sections.dataset else None
    held_out = split is None or (split != "none" and split.val > 0)
    is_custom = isinstance(sections.architecture, Custom)
    best = training.checkpoint.best
    stopping = training.early_stopping
    if best is not None:
        yield from metric_name_problems("training.checkpoint.best", best, task, held_out, is_custom)
        yield from feature_problems("training.checkpoint.best", best, task, training)
    if stopping and stopping.metric is not None:
        yield from metric_name_problems("training.early_stopping.metric", stopping.metric, task, held_out, is_custom)
        yield from feature_problems("training.early_stopping.metric", stopping.metric, task, training)
    if held_out or best is not None:
        return
    cure = "; give dataset.split.val a share, or set training.checkpoint.best to a metric such as loss/train"
    if stopping and stopping.metric is None:
        yield Problem("training.early_stopping", f"has nothing to watch: there is no validation part{cure}")
    if isinstance(training.schedule, Plateau):
        yield Problem("training.schedule", f"plateau has nothing to watch: there is no validation part{cure}")


def evaluation_problems(training: Training, task: TaskName) -> Iterator[Problem]:
    """Check that the task has metrics that take long, or pictures, where the job says how often."""
    settings, row = training.evaluate, TASKS[task]
    if settings.every and not (row.expensive or row.shows):
        message = f"does nothing for {task}: its metrics are computed after each epoch, and it has no pictures"
        yield Problem("training.evaluate.every", f"{message}; leave it out")
    if settings.samples and not row.expensive:
        message = f"does nothing for {task}, whose metrics are all computed on all samples; leave it out"
        yield Problem("training.evaluate.samples", message)
    if settings.features and not row.by_features:
        fitting = ", ".join(name for name, each in TASKS.items() if each.by_features)
        message = f"does nothing for {task}, which compares no images by features; leave it out (it is for {fitting})"
        yield Problem("training.evaluate.features", message)


def feature_problems(path: str, metric: str, task: TaskName, training: Training) -> Iterator[Problem]:
    """Check that a metric by features has a network whose features they are."""
    if metric.partition("/")[0] in TASKS[task].by_features and not training.evaluate.features:
        yield Problem(path, f"'{metric}' is measured by features; set training.evaluate.features, such as trained")


def metric_name_problems(path: str, metric: str, task: TaskName, held_out: bool, is_custom: bool) -> Iterator[Problem]:
    """Check one metric; a custom architecture may record metrics that its task does not have."""
    quantities = TASKS[task].metrics
    quantity, _, part = metric.partition("/")
    known = [f"{name}/{part}" for name in quantities for part in ("val", "train")]
    if metric in known or (is_custom and quantity and part in ("val", "train")):
        if part == "val" and not held_out:
            cure = f"use {quantity}/train, or give dataset.split.val a share"
            yield Problem(path, f"'{metric}' cannot be measured: there is no validation part; {cure}")
    elif part == "test" and quantity in quantities:
        yield Problem(path, f"the test part is used once, at the end; use {quantity}/val")
    elif not part and quantity in quantities:
        yield Problem(path, f"'{metric}' needs a part of the data; use {quantity}/val or {quantity}/train")
    else:
        guess = did_you_mean(metric, known) or f"; known are {', '.join(quantities)}, each with /val or /train"
        yield Problem(path, f"'{metric}' is not a metric of {task}{guess}")
