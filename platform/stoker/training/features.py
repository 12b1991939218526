"""The network by whose features made images are compared: trained with a job, or taken from an earlier run."""

import hashlib
import json
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from pydantic import TypeAdapter
from safetensors.torch import load_file
from torch import Tensor, nn

from stoker.architectures.network import rebuild_network
from stoker.datasets.fields.schema import Fields
from stoker.errors import JobError, Problem
from stoker.job.architecture.choice import Architecture, ArchitectureChoice
from stoker.job.architecture.custom import Custom
from stoker.job.job import Job
from stoker.job.saved_model import FIELDS, WEIGHTS
from stoker.tasks.generation.feature_network import FeatureNetwork
from stoker.tasks.task import Task

KEY = "training.evaluate.features"
TASK = "image-classification"


@dataclass(frozen=True)
class FeatureContent:
    """All of a feature network as plain values and CPU tensors."""

    facts: dict[str, Any]
    """Its `name`, `architecture`, `fields`, and where they are known `accuracy` and the `part` that it is of."""
    weights: dict[str, Tensor]

    @property
    def digest(self) -> str:
        """Return the SHA-256 of the weights with their names."""
        sha = hashlib.sha256()
        for name, value in sorted(self.weights.items()):
            sha.update(name.encode() + b"\0" + value.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
        return sha.hexdigest()

    @property
    def description(self) -> str:
        """Return the network in words: its name, its accuracy and the beginning of its digest."""
        accuracy = self.facts.get("accuracy")
        known = "" if accuracy is None else f", accuracy/{self.facts['part']} {accuracy:.4f}"
        return f"{self.facts['name']} ({self.facts['architecture']['family']}{known}, sha256 {self.digest[:12]})"


def content_of(
    name: str, architecture: Architecture, fields: Fields, classifier: nn.Module, known: Mapping[str, Any]
) -> FeatureContent:
    """Return a classifier as plain values.

    Args:
        name: of where it comes from.
        architecture: with all sizes.
        fields: of its images and classes.
        classifier: the network.
        known: further facts.

    """
    facts = {"name": name, "architecture": architecture.model_dump(mode="json", by_alias=True), **known}
    facts["fields"] = json.loads(json.dumps(fields.to_json()))
    weights = {key: value.detach().cpu().clone() for key, value in classifier.state_dict().items()}
    return FeatureContent(facts, weights)


def saved_content(name: str, folder: Path) -> FeatureContent:
    """Read the classifier of a saved model.

    Args:
        name: of where it comes from.
        folder: of the model.

    Raises:
        JobError: it is none, or one that is built by the user's own code.

    """
    if not (folder / WEIGHTS).is_file() or not (folder / FIELDS).is_file():
        raise JobError([Problem(KEY, f"no saved model in '{folder}' ({WEIGHTS} or {FIELDS} is missing)")])
    job_file = folder / "job.json"
    job = Job.model_validate_json(job_file.read_text(encoding="utf-8")) if job_file.is_file() else None
    if job is None or job.task != TASK or job.architecture is None or isinstance(job.architecture, Custom):
        what = f"a model of {job.task}" if job and job.task != TASK else "not a model of one of Stoker's families"
        raise JobError([Problem(KEY, f"'{name}' is {what}; name a run of {TASK}")])
    fields = Fields.from_json(json.loads((folder / FIELDS).read_text(encoding="utf-8")), {})
    with torch.random.fork_rng():
        classifier = rebuild_network(_unmirrored(job.architecture), fields.signature, folder)
    classifier.load_state_dict(load_file(folder / WEIGHTS), strict=False)  # frozen weights are those of a library
    return content_of(name, job.architecture, fields, classifier, {})


def built(content: FeatureContent, task: Task, device: torch.device) -> FeatureNetwork:
    """Build a feature network for the images of a task."""
    architecture: Architecture = TypeAdapter(ArchitectureChoice).validate_python(content.facts["architecture"])
    fields = Fields.from_json(content.facts["fields"], {})
    with torch.random.fork_rng(), tempfile.TemporaryDirectory() as empty:  # without the weights of a library
        classifier = rebuild_network(_unmirrored(architecture), fields.signature, Path(empty))
    classifier.load_state_dict(content.weights)
    network = FeatureNetwork(
        classifier, fields.image, fields.signature.classes, task.fields.image, task.fields.signature.classes
    ).to(device)
    network.facts = content.facts
    return network


def kept_content(network: FeatureNetwork) -> FeatureContent:
    """Return what a feature network is built from again."""
    return FeatureContent(network.facts, {k: v.cpu() for k, v in network.classifier.state_dict().items()})


def announce(content: FeatureContent) -> None:
    """Print which network it is to the run's log."""
    print(f"features of {content.description}", file=sys.stderr)  # noqa: T201 - the run's log


def _unmirrored(architecture: Architecture) -> Architecture:
    """Return an architecture that sees an image once, so that its features are those of this image."""
    return architecture.model_copy(update={"mirrored": False}) if hasattr(architecture, "mirrored") else architecture
