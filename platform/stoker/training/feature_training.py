"""Provides a job with its feature network before the first step, the same on all workers."""

from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from stoker.architectures.network import with_default_sizes
from stoker.datasets.feeding.batches import ordered_batches
from stoker.datasets.feeding.limits import batch_limit
from stoker.job.architecture.cnn import Cnn
from stoker.job.job import Job
from stoker.job.resources import Resources
from stoker.job.training import TRAINED, Training
from stoker.randomness import kept_randomness
from stoker.tasks.generation.feature_network import FeatureNetwork
from stoker.training.assembly import Assembly, assemble
from stoker.training.evaluation_epochs import sample_rows
from stoker.training.events import EpochEnd
from stoker.training.features import TASK, FeatureContent, announce, built, content_of, saved_content
from stoker.training.loop import start, train
from stoker.training.parallel import Workers
from stoker.training.preparation import Prepared

EPOCHS, STEPS, BATCH = 30, 700, 64
"""Length of its training, whichever ends first, and samples of a step."""
MOST_KNOWN = 50_000
"""Training images among which the nearest one of each sample is searched."""


def set_features(assembly: Assembly, model: Path | None) -> None:
    """Train or load the network of `training.evaluate.features`, unless a checkpoint has it; all workers call it.

    Args:
        assembly: of the job.
        model: folder of the model that the job names; None if it names none.

    Raises:
        JobError: the model is missing or is not that of a classifier.

    """
    name = assembly.job.training.evaluate.features
    workers, task = assembly.workers, assembly.task
    if name is None:
        task.features = None
        return
    if task.features is None or task.features.facts["name"] != name:
        content: FeatureContent | None = None
        if workers.rank == 0:
            if model:
                content = _measured(saved_content(name, model), assembly)
            else:
                content = trained_content(assembly.prepared, assembly.device)
            announce(content)
        task.features = built(workers.broadcast_object(content), task, assembly.device)
    if workers.rank == 0:
        task.features.training_features = training_features(assembly, task.features)


def trained_content(prepared: Prepared, device: torch.device) -> FeatureContent:
    """Train a small classifier on the classes of the training part, by the seed of the job, on this worker alone.

    It keeps its last weights, so that its accuracy on the validation part is that of samples which it has not seen.
    """
    job, data = prepared.job, prepared.data
    signature, samples = data.fields.signature, len(data.parts["train"])
    architecture = with_default_sizes(Cnn(family="cnn"), signature, samples)
    batch = min(BATCH, samples)
    training = Training.model_validate(
        {"epochs": EPOCHS, "steps": STEPS, "batch_size": batch, "precision": "fp32", "seed": job.training.seed}
    )
    update = {"task": TASK, "architecture": architecture, "training": training, "resources": Resources(), "sweep": None}
    own: Job = job.model_copy(update=update)
    metrics: dict[str, float] = {}
    with kept_randomness(device):
        assembly = assemble(Prepared(own, data), Workers(device=device))
        for event in train("features", start(assembly)):
            metrics = event.metrics if isinstance(event, EpochEnd) else metrics
    part = assembly.prepared.evaluated_part
    known = {"part": part, "accuracy": metrics[f"accuracy/{part}"]}
    return content_of(TRAINED, architecture, data.fields, assembly.objective.network, known)


def _measured(content: FeatureContent, assembly: Assembly) -> FeatureContent:
    """Return a classifier of another run with its accuracy on the job's own images, if it knows their classes."""
    network, part = built(content, assembly.task, assembly.device), assembly.prepared.evaluated_part
    if not network.names_classes:
        return content
    fields, right = assembly.data.fields, 0
    (name,) = fields.signature.images
    for batch in ordered_batches(assembly.parts[part], fields, batch_limit(fields.signature)):
        right += int((network(batch.inputs[name])[1] == batch.target).sum())
    return replace(content, facts={**content.facts, "part": part, "accuracy": right / len(assembly.parts[part])})


def training_features(assembly: Assembly, network: FeatureNetwork) -> Tensor:
    """Return (N, width) features of the training images, of many only some."""
    samples, fields = assembly.parts["train"], assembly.data.fields
    if len(samples) > MOST_KNOWN:
        rows = sample_rows(len(samples), MOST_KNOWN, assembly.job.training.seed)
        samples = samples.rows(rows.to(samples.ids.device))
    (name,) = fields.signature.images
    batches = ordered_batches(samples, fields, batch_limit(fields.signature))
    return torch.cat([network(batch.inputs[name])[0].cpu() for batch in batches])
