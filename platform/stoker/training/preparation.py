"""A job with its data, and every default that follows from them."""

import math
from dataclasses import dataclass
from pathlib import Path

from pydantic import TypeAdapter

from stoker.architectures.custom import is_objective_class, user_class
from stoker.architectures.network import (
    default_average,
    default_optimizers,
    misfits,
    normalization,
    unavailable,
    with_default_sizes,
    with_start,
)
from stoker.datasets.dataset import LoadedDataset
from stoker.datasets.fields.image import saved_normalization
from stoker.datasets.fields.texts.text import saved_text
from stoker.datasets.loading import load_dataset
from stoker.errors import JobError
from stoker.job.architecture.choice import Architecture, ArchitectureChoice
from stoker.job.architecture.custom import Custom
from stoker.job.dataset import Dataset
from stoker.job.job import Job
from stoker.job.task import TASKS, TOKENIZED, Direction, TaskName, TaskRow
from stoker.job.training import Training
from stoker.training.class_weights import completed_weights, loss_problems
from stoker.training.problems import (
    default_batch_size,
    feature_problems,
    length_problems,
    metric_problems,
    network_problems,
)
from stoker.training.word_vectors import word_vector_problems

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


def prepare(job: Job, data: LoadedDataset | None = None, start: Path | None = None) -> Prepared:
    """Load the data and fill in every default that follows from it.

    Args:
        job: already validated.
        data: its dataset, if already loaded.
        start: folder of the model that training starts from; texts are cut by its vocabulary.

    Raises:
        JobError: data and job do not fit.

    """
    chosen = with_start(job.architecture or default_architecture(job.task), start)
    if problems := unavailable(chosen, job.dataset):
        raise JobError(problems)
    row = TASKS[job.task]
    dataset = with_normalization(with_vocabulary(job.dataset_to_load, row, start), chosen, start)
    data = data or load_dataset(dataset, row)
    samples = len(data.parts["train"])
    architecture = with_default_sizes(chosen, data.fields.signature, samples)
    training = _completed(job, architecture, data)
    problems = [
        *(misfits(architecture, data.fields.signature) or network_problems(job, architecture, data)),
        *length_problems(job, samples),
        *loss_problems(job, data.fields.signature),
        *metric_problems(job, data),
        *feature_problems(job, data),
        *word_vector_problems(job, architecture, data),
    ]
    if problems:
        raise JobError(problems)
    update = {
        "architecture": architecture,
        "dataset": _resolved_dataset(job, data),
        "training": training,
    }
    return Prepared(job.model_copy(update=update), data)


def with_vocabulary(dataset: Dataset, row: TaskRow, model: Path | None) -> Dataset:
    """Return a dataset whose texts are cut by the vocabulary of a saved model, if both are of texts."""
    cut = not TOKENIZED.isdisjoint(row.inputs)
    if model is None or not cut or dataset.text.tokenizer or not saved_text(model):
        return dataset
    return dataset.model_copy(update={"text": dataset.text.model_copy(update={"tokenizer": str(model)})})


def with_normalization(dataset: Dataset, architecture: Architecture, model: Path | None) -> Dataset:
    """Return a dataset whose pictures are standardised as the network's weights, or those of a saved model, need it."""
    if dataset.image.normalization:
        return dataset
    found = normalization(architecture) or (saved_normalization(model) if model else None)
    if found is None:
        return dataset
    return dataset.model_copy(update={"image": dataset.image.model_copy(update={"normalization": found})})


def _resolved_dataset(job: Job, data: LoadedDataset) -> Dataset:
    """Return the dataset with its inferred values; the tokenizer of a pretrained network goes on to follow from it."""
    text = data.spec.text.model_copy(update={"tokenizer": job.dataset.text.tokenizer})
    return data.spec.model_copy(update={"text": text})


def default_architecture(task: TaskName) -> Architecture:
    """Return the first family of a task."""
    family: Architecture = TypeAdapter(ArchitectureChoice).validate_python(TASKS[task].families[0])
    return family


def default_epochs(steps_per_epoch: int) -> int:
    """Return the number of epochs for about 1,500 steps, from 20 to 200."""
    return min(max(round(DEFAULT_STEPS / steps_per_epoch), MIN_EPOCHS), MAX_EPOCHS)


def _completed(job: Job, architecture: Architecture, data: LoadedDataset) -> Training:
    training, samples = job.training, len(data.parts["train"])
    batch_size = training.batch_size or default_batch_size(samples)
    epochs = training.epochs
    if not (epochs or training.steps or training.time):
        epochs = default_epochs(-(-samples // batch_size))
    quantity = _best_quantity(job)
    best = training.checkpoint.best or (f"{quantity}/val" if quantity and "val" in data.parts else None)
    chosen = None if "optimizer" in training.model_fields_set else default_optimizers(architecture)
    update = {
        "epochs": epochs,
        "batch_size": batch_size,
        "micro_batch": training.micro_batch and min(training.micro_batch, batch_size),
        "checkpoint": training.checkpoint.model_copy(update={"best": best}),
        "class_weights": completed_weights(training, data),
        "ema": default_average(architecture) if training.ema is None else training.ema,
        "optimizer": chosen or training.optimizer,
    }
    return training.model_copy(update=update)


def _best_quantity(job: Job) -> str:
    """Return the quantity that selects the best weights; empty if the last ones are the model."""
    if isinstance(job.architecture, Custom) and is_objective_class(user_class(job.architecture.class_name)):
        return "loss"
    return TASKS[job.task].best
