"""A job: the sections of a job file, in reading order."""

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from stoker.job.architecture.choice import ArchitectureChoice
from stoker.job.architecture.pretrained import Pretrained
from stoker.job.dataset import Dataset, DatasetChoice
from stoker.job.environment import Environment
from stoker.job.resources import Resources
from stoker.job.section import Section
from stoker.job.sweep import Sweep
from stoker.job.task import TaskName
from stoker.job.tracking import TrackingChoice
from stoker.job.training import Training

NAME_LENGTH = 38
"""Maximum length; a run id adds 9 characters, and the name of a RayJob on Kubernetes has at most 47."""


def usable_name(text: str) -> str:
    """Return a text as a DNS-1035 label; empty if it contains no usable character."""
    label = re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")
    label = label if not label or label[0].isalpha() else f"job-{label}"
    return label[:NAME_LENGTH].rstrip("-")


def _check_name(name: str) -> str:
    usable = usable_name(name)
    if name != usable:
        cure = f"; use '{usable}'" if usable else ""
        raise ValueError(
            f"'{name}' is not usable: lower-case letters, digits and '-', a letter first, at most {NAME_LENGTH}{cure}"
        )
    return name


JobName = Annotated[str, AfterValidator(_check_name)]


class Job(Section):
    """The network to train, the data to train it on, and the resources to use."""

    version: Literal[1] = 1
    """Version of the job language."""

    name: JobName | None = None
    """Name of the job, such as `digits-cnn`; the ids of its runs start with it. Default: the file's name."""

    task: TaskName
    """Kind of problem to solve: it determines the roles of the data, the loss, the metrics and the predictions."""

    architecture: ArchitectureChoice | None = None
    """The network, by family, such as `cnn`; default: the first family that `stoker list tasks` shows for the task."""

    dataset: DatasetChoice
    """Samples to learn from: a bare string is their source."""

    training: Training = Field({}, validate_default=True)
    """How the network is trained: duration, batch size, optimizer, schedule, precision, checkpoints."""

    resources: Resources = Field({}, validate_default=True)
    """Number of workers, and the hardware of each of them."""

    environment: Environment = Field({}, validate_default=True)
    """Code, packages and environment variables of the workers."""

    tracking: TrackingChoice = Field({}, validate_default=True)
    """Where runs are recorded in MLflow; `none` records without MLflow, in the run's folder only."""

    sweep: Sweep | None = None
    """Hyperparameter search: many trials of this job with varied values; default: a single run."""

    @property
    def dataset_to_load(self) -> Dataset:
        """The dataset with the tokenizer of a pretrained network, unless the job names another one."""
        if not isinstance(self.architecture, Pretrained) or self.dataset.text.tokenizer:
            return self.dataset
        text = self.dataset.text.model_copy(update={"tokenizer": self.architecture.model})
        return self.dataset.model_copy(update={"text": text})
