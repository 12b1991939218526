"""Builds dataset, network and objective of a job, and checks them against each other."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from pydantic import TypeAdapter

from stoker.architectures.custom import is_objective_class, user_class
from stoker.architectures.network import build_network, misfits, with_default_sizes
from stoker.datasets.batches import Batches, gathered
from stoker.datasets.dataset import LoadedDataset
from stoker.datasets.loading import load_dataset
from stoker.datasets.prefetch import MAX_PROCESSES
from stoker.datasets.samples import Samples
from stoker.errors import JobError, Problem
from stoker.job.architecture.choice import Architecture, ArchitectureChoice
from stoker.job.architecture.custom import Custom
from stoker.job.concurrency import machine_cpus
from stoker.job.job import Job
from stoker.job.task import TASKS, Direction, TaskName
from stoker.job.training import Training
from stoker.tasks.choice import TASK_CLASSES, objective_of
from stoker.tasks.objective import Objective
from stoker.tasks.task import Task
from stoker.training.class_weights import completed_weights, loss_problems
from stoker.training.compilation import compile_layers
from stoker.training.optimization import group_problems
from stoker.training.parallel import ALONE, Workers
from stoker.training.recomputation import recomputable, recompute
from stoker.training.sharding import shard, whole_state

MIN_BATCH, MAX_BATCH = 16, 512
STEPS_PER_EPOCH = 64
"""The default batch size gives about this many steps per epoch."""
DEFAULT_STEPS = 1_500
MIN_EPOCHS, MAX_EPOCHS = 20, 200


@dataclass(frozen=True)
class Prepared:
    """A job with the defaults that follow from its data, and the data."""

    job: Job
    data: LoadedDataset

    @property
    def architecture(self) -> Architecture:
        """The network's settings, sizes included."""
        assert self.job.architecture is not None
        return self.job.architecture

    @property
    def batch_size(self) -> int:
        """Samples of one optimizer step."""
        assert self.job.training.batch_size is not None
        return self.job.training.batch_size

    @property
    def micro_batch(self) -> int:
        """Samples of one forward pass of a worker; by default its whole share."""
        return self.job.training.micro_batch or -(-self.batch_size // self.job.resources.most_workers)

    @property
    def steps_per_epoch(self) -> int:
        """Optimizer steps of an epoch, including the smaller last one."""
        return -(-len(self.data.parts["train"]) // self.batch_size)

    @property
    def steps(self) -> int:
        """Optimizer steps of the run, if a time limit does not end it earlier."""
        training = self.job.training
        limits = [training.epochs and training.epochs * self.steps_per_epoch, training.steps]
        return min(limit for limit in limits if limit)

    @property
    def epochs(self) -> int:
        """Epochs of the run; the last one may be incomplete."""
        return math.ceil(self.steps / self.steps_per_epoch)

    @property
    def evaluated_part(self) -> str:
        """The part that is evaluated after each epoch: val, or train if there is no val."""
        return "val" if "val" in self.data.parts else "train"

    @property
    def best(self) -> tuple[str, Direction]:
        """The metric that selects the best weights, and its direction."""
        metric = self.job.training.checkpoint.best or f"{_best_quantity(self.job) or 'loss'}/{self.evaluated_part}"
        return metric, TASKS[self.job.task].metrics.get(metric.split("/")[0], "min")  # else: a term of a user's loss

    @property
    def keeps_best(self) -> bool:
        """Whether the best weights become the model, rather than the last ones."""
        return self.job.training.checkpoint.best is not None


@dataclass(frozen=True)
class Assembly:
    """Everything the loop trains with, on one device."""

    prepared: Prepared
    parts: dict[str, Samples]
    task: Task
    objective: Objective
    workers: Workers

    @property
    def job(self) -> Job:
        """The job, with all defaults filled in."""
        return self.prepared.job

    @property
    def data(self) -> LoadedDataset:
        """The dataset the parts come from."""
        return self.prepared.data

    @property
    def sharded(self) -> bool:
        """Whether each worker has only a part of the weights."""
        return is_divided(self.job, self.workers)

    @property
    def device(self) -> torch.device:
        """The device of the parts."""
        return self.parts["train"].ids.device

    def share(self) -> range:
        """Return this worker's rows of a whole batch."""
        return self.workers.share(self.prepared.batch_size)

    def nonfinite_samples(self, ids: Sequence[int]) -> list[int]:
        """Return the training samples with non-finite values."""
        samples = self.parts["train"]
        places = torch.isin(samples.ids, torch.tensor(ids, device=self.device)).nonzero().flatten()
        batch = gathered(samples, self.data.fields, places, slice(0, len(places)))
        broken = torch.zeros(len(batch), dtype=torch.bool, device=self.device)
        for tensor in (*batch.inputs.values(), batch.target, batch.weight):
            if tensor is not None:
                broken |= ~tensor.reshape(len(batch), -1).isfinite().all(dim=1)
        found: list[int] = batch.ids[broken].tolist()
        return found

    def batches(self, ahead: bool = True) -> Batches:
        """Return this worker's share of the training batches; files are decoded ahead, or in the step itself."""
        return Batches(
            self.parts["train"],
            self.data.fields,
            self.prepared.batch_size,
            self.prepared.micro_batch,
            self.job.dataset.image.augment or (),
            self.job.training.seed,
            self.share(),
            self.objective.order,
            max(1, min(MAX_PROCESSES, machine_cpus() // self.workers.count)) if ahead else 0,
            self.workers.shares(self.prepared.batch_size) if self.sharded else (),
        )


def prepare(job: Job, data: LoadedDataset | None = None) -> Prepared:
    """Load the data and fill in every default that follows from it.

    Args:
        job: already validated.
        data: its dataset, if already loaded.

    Raises:
        JobError: data and job do not fit.

    """
    data = data or load_dataset(job.dataset, TASKS[job.task])
    samples = len(data.parts["train"])
    chosen = job.architecture or default_architecture(job.task)
    architecture = with_default_sizes(chosen, data.fields.signature, samples)
    training = _completed(job, data)
    problems = [
        *misfits(architecture, data.fields.signature),
        *_length_problems(job, samples),
        *_optimizer_problems(job.task, training, architecture, data),
        *loss_problems(job, data.fields.signature.classes),
        *_metric_problems(job, data),
        *_sharding_problems(job, data),
        *_recomputation_problems(job.training, architecture, data),
    ]
    if problems:
        raise JobError(problems)
    update = {
        "architecture": architecture,
        "dataset": data.spec,
        "training": training,
    }
    return Prepared(job.model_copy(update=update), data)


def default_architecture(task: TaskName) -> Architecture:
    """Return the first family of a task."""
    family: Architecture = TypeAdapter(ArchitectureChoice).validate_python(TASKS[task].families[0])
    return family


def assemble(prepared: Prepared, workers: Workers = ALONE, compiled: bool = True) -> Assembly:
    """Build network and objective on a worker's device, with the seed's weights, and move the data there.

    Args:
        prepared: the job and its data.
        workers: of the run.
        compiled: whether to compile the layers of a job that wants it.

    """
    job, device = prepared.job, workers.device
    devices = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(job.training.seed)
        network = build_network(prepared.architecture, prepared.data.fields.signature)
    if prepared.data.fields.signature.images:
        network = network.to(memory_format=torch.channels_last)
    task = TASK_CLASSES[job.task](prepared.data.fields)
    objective = objective_of(network, task, job.training)
    parts = {name: part.to(device) for name, part in prepared.data.parts.items()}
    if job.training.activation_checkpoints:
        recompute(objective.network)
    if is_divided(job, workers):
        shard(network, workers, job.training.precision)
    if compiled and job.training.compile:
        compile_layers(objective.network)
    return Assembly(prepared, parts, task, objective.to(device), workers)


def is_divided(job: Job, workers: Workers) -> bool:
    """Return whether each worker has only a part of the weights."""
    return job.training.parallel == "fsdp" and workers.count > 1


def made_whole(assembly: Assembly) -> Assembly:
    """Return an assembly whose objective is whole, on the first worker; all workers call it."""
    if not assembly.sharded:
        return assembly
    state = whole_state(assembly.objective)
    if assembly.workers.rank:
        return assembly
    alone = assemble(assembly.prepared, compiled=False)
    alone.objective.load_state_dict(state)
    return alone


def default_batch_size(samples: int) -> int:
    """Return a power of two for about 64 steps per epoch, from 16 to 512 and at most the number of samples."""
    wanted = min(max(samples / STEPS_PER_EPOCH, MIN_BATCH), MAX_BATCH)
    power: int = 2 ** round(math.log2(wanted))
    return power if power <= samples else 2 ** int(math.log2(samples))


def default_epochs(steps_per_epoch: int) -> int:
    """Return the number of epochs for about 1,500 steps, from 20 to 200."""
    return min(max(round(DEFAULT_STEPS / steps_per_epoch), MIN_EPOCHS), MAX_EPOCHS)


def _completed(job: Job, data: LoadedDataset) -> Training:
    training, samples = job.training, len(data.parts["train"])
    batch_size = training.batch_size or default_batch_size(samples)
    epochs = training.epochs
    if not (epochs or training.steps or training.time):
        epochs = default_epochs(-(-samples // batch_size))
    quantity = _best_quantity(job)
    best = training.checkpoint.best or (f"{quantity}/val" if quantity and "val" in data.parts else None)
    update = {
        "epochs": epochs,
        "batch_size": batch_size,
        "micro_batch": training.micro_batch and min(training.micro_batch, batch_size),
        "checkpoint": training.checkpoint.model_copy(update={"best": best}),
        "class_weights": completed_weights(training, data),
    }
    return training.model_copy(update=update)


def _best_quantity(job: Job) -> str:
    """Return the quantity that selects the best weights; empty if the last ones are the model."""
    if isinstance(job.architecture, Custom) and is_objective_class(user_class(job.architecture.class_name)):
        return "loss"
    return TASKS[job.task].best


def _length_problems(job: Job, samples: int) -> Iterator[Problem]:
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


def _optimizer_problems(
    task: TaskName, training: Training, architecture: Architecture, data: LoadedDataset
) -> list[Problem]:
    """Check that the job has optimizers for exactly the groups of the objective, which a user's may define."""
    if not isinstance(training.optimizer, dict) or misfits(architecture, data.fields.signature):
        return []
    with torch.random.fork_rng(devices=[]):  # random weights, only to list the groups
        network = build_network(architecture, data.fields.signature)
    objective = objective_of(network, TASK_CLASSES[task](data.fields), training)
    return group_problems(training.optimizer, objective.groups())


def _recomputation_problems(training: Training, architecture: Architecture, data: LoadedDataset) -> Iterator[Problem]:
    """Check that there are layers whose outputs can be computed again."""
    if not training.activation_checkpoints or misfits(architecture, data.fields.signature):
        return
    with torch.random.fork_rng(devices=[]):
        network = build_network(architecture, data.fields.signature)
    if not recomputable(network.network if isinstance(network, Objective) else network):
        message = "no layer of this network can be computed again: they are the members of its ModuleList or Sequential"
        yield Problem("training.activation_checkpoints", f"{message} without running statistics; leave it out")


def _sharding_problems(job: Job, data: LoadedDataset) -> Iterator[Problem]:
    """Check that the loop knows how the user's class computes, if its weights are divided."""
    if job.training.parallel == "fsdp" and isinstance(job.architecture, Custom):
        name = job.architecture.class_name
        if is_objective_class(user_class(name)):
            message = f"{name} is an objective, which computes with its networks as it likes; use replicated"
            yield Problem("training.parallel", message)
            return
        with torch.random.fork_rng(devices=[]):
            network = build_network(job.architecture, data.fields.signature)
        for path, parameter in network.named_parameters():
            if not parameter.ndim:
                message = f"{path} of {name} is a scalar, which cannot be divided; give it the shape (1,)"
                yield Problem("training.parallel", message)


def _metric_problems(job: Job, data: LoadedDataset) -> Iterator[Problem]:
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
