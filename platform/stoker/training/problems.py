"""Checks of a job against its data and its network, before anything is trained."""

import math
from collections.abc import Iterator

import torch
from torch import nn

from stoker.architectures.custom import is_objective_class, user_class
from stoker.architectures.network import build_network
from stoker.datasets.dataset import LoadedDataset
from stoker.errors import Problem
from stoker.job.architecture.choice import Architecture
from stoker.job.architecture.custom import Custom
from stoker.job.job import Job
from stoker.job.training import TRAINED
from stoker.tasks.choice import TASK_CLASSES, objective_of
from stoker.tasks.objective import Objective
from stoker.training.features import KEY
from stoker.training.optimization import group_problems
from stoker.training.recomputation import recomputable

MIN_BATCH, MAX_BATCH = 16, 512
STEPS_PER_EPOCH = 64
"""The default batch size gives about this many steps per epoch."""


def default_batch_size(samples: int) -> int:
    """Return a power of two for about 64 steps per epoch, from 16 to 512 and at most the number of samples."""
    wanted = min(max(samples / STEPS_PER_EPOCH, MIN_BATCH), MAX_BATCH)
    power: int = 2 ** round(math.log2(wanted))
    return power if power <= samples else 2 ** int(math.log2(samples))


def length_problems(job: Job, samples: int) -> Iterator[Problem]:
    """Check that a batch has samples for each worker, and the data a batch."""
    batch_size, workers = job.training.batch_size, job.resources.most_workers
    if batch_size and batch_size > samples:
        yield Problem(
            "training.batch_size", f"{batch_size} is more than the {samples} training samples; use at most {samples}"
        )
    elif not batch_size and (chosen := default_batch_size(samples)) < workers:
        message = (
            f"{workers} are more than the {chosen} samples of a batch; use at most {chosen}, or set training.batch_size"
        )
        yield Problem("resources.workers", message)


def metric_problems(job: Job, data: LoadedDataset) -> Iterator[Problem]:
    """Check that there are samples to measure the named metrics on."""
    training, split = job.training, job.dataset.split
    stopping = training.early_stopping
    column = split.column if split != "none" else None
    more = f"write val in rows of column '{column}'" if column else "give dataset.split.val a larger share"
    named = {
        "training.checkpoint.best": training.checkpoint.best,
        "training.early_stopping.metric": stopping.metric if stopping else None,
    }
    for path, metric in named.items():
        if metric and metric.endswith("/val") and "val" not in data.parts:
            cure = f"use {metric.removesuffix('val')}train, or {more}"
            yield Problem(path, f"'{metric}' cannot be measured: the validation part is empty; {cure}")


def feature_problems(job: Job, data: LoadedDataset) -> Iterator[Problem]:
    """Check that there are classes to train a feature network on."""
    classes = data.fields.signature.classes
    if job.training.evaluate.features == TRAINED and len(classes) < 2:
        message = f"the data has {'one class' if classes else 'no classes'} for a network to tell apart"
        yield Problem(KEY, f"{message}; name a run of image-classification (run:ID), or leave it out")


def network_problems(job: Job, architecture: Architecture, data: LoadedDataset) -> list[Problem]:
    """Check what the job asks of its network, which is built only if it asks for something."""
    training = job.training
    groups = training.optimizer if isinstance(training.optimizer, dict) else None
    divided = architecture.class_name if isinstance(architecture, Custom) and training.parallel == "fsdp" else None
    if not (groups or divided or training.activation_checkpoints):
        return []
    with torch.random.fork_rng(devices=[]):
        network = build_network(architecture, data.fields.signature)
    problems: list[Problem] = []
    if groups:
        objective = objective_of(network, TASK_CLASSES[job.task](data.fields), training)
        problems += group_problems(groups, objective.groups())
    if training.activation_checkpoints:
        problems += _recomputation_problems(network.network if isinstance(network, Objective) else network)
    if divided:
        problems += _sharding_problems(divided, network)
    return problems


def _recomputation_problems(network: nn.Module) -> Iterator[Problem]:
    """Check that there are layers whose outputs can be computed again."""
    if not recomputable(network):
        message = "no layer of this network can be computed again: they are the members of its ModuleList or Sequential"
        yield Problem("training.activation_checkpoints", f"{message} without running statistics; leave it out")


def _sharding_problems(name: str, network: nn.Module) -> Iterator[Problem]:
    """Check that the loop knows how the user's class computes, and that each of its weights can be divided."""
    if is_objective_class(user_class(name)):
        message = f"{name} is an objective, which computes with its networks as it likes; use replicated"
        yield Problem("training.parallel", message)
        return
    for path, parameter in network.named_parameters():
        if not parameter.ndim:
            message = f"{path} of {name} is a scalar, which cannot be divided; give it the shape (1,)"
            yield Problem("training.parallel", message)
