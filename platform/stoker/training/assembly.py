"""Builds network and objective of a prepared job, and moves its data to a device."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from stoker.architectures.network import build_network
from stoker.datasets.dataset import LoadedDataset
from stoker.datasets.feeding.batch import gathered
from stoker.datasets.feeding.batches import Batches
from stoker.datasets.feeding.mixing import Mixing
from stoker.datasets.feeding.prefetch import MAX_PROCESSES
from stoker.datasets.samples import Samples
from stoker.job.concurrency import machine_cpus
from stoker.job.job import Job
from stoker.tasks.choice import TASK_CLASSES, objective_of
from stoker.tasks.objective import Objective
from stoker.tasks.task import Task
from stoker.training.compilation import compile_layers
from stoker.training.parallel import ALONE, Workers
from stoker.training.preparation import Prepared
from stoker.training.recomputation import recompute
from stoker.training.sharding import shard, whole_state


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

    @property
    def imbalance(self) -> float:
        """How many times the least work of a worker in a step the most is: in samples, or in passes."""
        samples = [max(len(share), 1) for share in self.workers.shares(self.prepared.batch_size)]
        passes = [-(-count // self.prepared.micro_batch) for count in samples]
        return max(max(samples) / min(samples), max(passes) / min(passes))

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
            Mixing(self.job.training.mixup, self.job.training.cutmix),
        )


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
    if prepared.data.fields.signature.images and not is_divided(job, workers):  # FSDP needs contiguous weights
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
