"""From a job to dataset, network and objective, checked against each other."""

import math
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import torch

from stoker.architectures.network import build_network, misfits, with_sizes
from stoker.datasets.batches import Batches
from stoker.datasets.loading import LoadedDataset, load_dataset
from stoker.datasets.samples import Samples
from stoker.errors import JobError, Problem
from stoker.spec.architecture import FAMILIES, Architecture
from stoker.spec.job import Job
from stoker.spec.task import TASKS, Direction
from stoker.tasks.choice import TASK_CLASSES
from stoker.tasks.objective import Objective
from stoker.tasks.task import Task
from stoker.training.parallel import machine_cpus

if TYPE_CHECKING:
    from torchmetrics import MetricCollection

SMALLEST_BATCH, LARGEST_BATCH = 16, 512
STEPS_PER_EPOCH = 64
"""Default batches are about this many an epoch."""
DEFAULT_STEPS = 1_500
FEWEST_EPOCHS, MOST_EPOCHS = 20, 200


@dataclass(frozen=True)
class Prepared:
    """A job with all that follows from its data filled in, and the data."""

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
        """Samples computed at once."""
        return self.job.training.micro_batch or self.batch_size

    @property
    def steps_per_epoch(self) -> int:
        """Optimizer steps of an epoch, the uneven last one included."""
        return -(-len(self.data.parts["train"]) // self.batch_size)

    @property
    def steps(self) -> int:
        """Optimizer steps of the run, where time does not end it earlier."""
        training = self.job.training
        limits = [training.epochs and training.epochs * self.steps_per_epoch, training.steps]
        return min(limit for limit in limits if limit)

    @property
    def epochs(self) -> int:
        """Epochs of the run, the last one perhaps cut short."""
        return math.ceil(self.steps / self.steps_per_epoch)

    @property
    def evaluated_part(self) -> str:
        """The part that is evaluated after each epoch: the training one where there is no other."""
        return "val" if "val" in self.data.parts else "train"

    @property
    def best(self) -> tuple[str, Direction]:
        """The metric that picks the best weights, and its better direction."""
        metric = self.job.training.checkpoint.best
        assert metric is not None
        return metric, TASKS[self.job.task].metrics[metric.split("/")[0]]


@dataclass(frozen=True)
class Assembly:
    """Everything the loop trains with, on one device."""

    prepared: Prepared
    parts: dict[str, Samples]
    task: Task
    objective: Objective

    @property
    def job(self) -> Job:
        """The job, completed."""
        return self.prepared.job

    @property
    def data(self) -> LoadedDataset:
        """The dataset the parts come from."""
        return self.prepared.data

    @property
    def device(self) -> torch.device:
        """Where the parts are."""
        return self.parts["train"].ids.device

    @cached_property
    def metrics(self) -> "MetricCollection":
        """The task's metrics; the first use imports their library."""
        return self.task.metrics(self.data.encoders.output).to(self.device)

    def batches(self) -> Batches:
        """Make the training batches."""
        return Batches(
            self.parts["train"],
            self.data.encoders.input,
            self.prepared.batch_size,
            self.prepared.micro_batch,
            self.job.dataset.image.augment,
            self.job.training.seed,
        )


def prepare(job: Job) -> Prepared:
    """Load the data and fill in every default that follows from it.

    Raises:
        JobError: data and job do not fit.

    """
    task = TASKS[job.task]
    data = load_dataset(job.dataset, task)
    samples = len(data.parts["train"])
    architecture = job.architecture or FAMILIES[task.families[0]](family=task.families[0])
    architecture = with_sizes(architecture, data.encoders.signature, samples)  # type: ignore[arg-type] - FAMILIES' union
    problems = [*misfits(architecture, data.encoders.signature), *_length_problems(job, samples)]
    if problems:
        raise JobError(problems)
    training = job.training
    batch_size = training.batch_size or default_batch_size(samples)
    epochs = training.epochs
    if not (epochs or training.steps or training.time):
        epochs = default_epochs(-(-samples // batch_size))
    best = training.checkpoint.best or f"{task.best}/{'val' if 'val' in data.parts else 'train'}"
    completed = training.model_copy(
        update={
            "epochs": epochs,
            "batch_size": batch_size,
            "checkpoint": training.checkpoint.model_copy(update={"best": best}),
        }
    )
    resources = job.resources.model_copy(update={"cpus": job.resources.cpus or machine_cpus()})
    update = {"architecture": architecture, "dataset": data.spec, "training": completed, "resources": resources}
    return Prepared(job.model_copy(update=update), data)


def assemble(prepared: Prepared, device: torch.device) -> Assembly:
    """Build network and objective on a device, with the seed's weights, and move the data there."""
    job = prepared.job
    devices = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(job.training.seed)
        network = build_network(prepared.architecture, prepared.data.encoders.signature)
    if "image" in prepared.data.parts["train"].inputs:
        network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload] - missing in torch's stubs
    task = TASK_CLASSES[job.task]()
    objective = task.objective(network, prepared.data.encoders.output).to(device)
    return Assembly(prepared, {name: part.to(device) for name, part in prepared.data.parts.items()}, task, objective)


def default_batch_size(samples: int) -> int:
    """Choose a power of two that makes about 64 steps an epoch, from 16 to 512 and never above the samples."""
    wanted = min(max(samples / STEPS_PER_EPOCH, SMALLEST_BATCH), LARGEST_BATCH)
    power: int = 2 ** round(math.log2(wanted))
    return power if power <= samples else 2 ** int(math.log2(samples))


def default_epochs(steps_per_epoch: int) -> int:
    """Choose the epochs that make about 1,500 steps, from 20 to 200."""
    return min(max(round(DEFAULT_STEPS / steps_per_epoch), FEWEST_EPOCHS), MOST_EPOCHS)


def _length_problems(job: Job, samples: int) -> list[Problem]:
    training = job.training
    if training.batch_size and training.batch_size > samples:
        message = f"{training.batch_size} is more than the {samples} training samples; use at most {samples}"
        return [Problem("training.batch_size", message)]
    return []
