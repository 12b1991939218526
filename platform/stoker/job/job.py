"""A job: the nouns of the file, in reading order."""

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from stoker.job.architecture.choice import ArchitectureChoice
from stoker.job.dataset import DatasetChoice
from stoker.job.environment import Environment
from stoker.job.resources import Resources
from stoker.job.section import Section
from stoker.job.sweep import Sweep
from stoker.job.task import TaskName
from stoker.job.tracking import TrackingChoice
from stoker.job.training import Training

NAME_LENGTH = 38
"""A run id adds 9 characters, and Kubernetes allows a RayJob 47."""


def usable_name(text: str) -> str:
    """Make a DNS-1035 label of any text; empty where nothing usable is in it."""
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


class Job(Section):
    """What to train, on what, and with which resources."""

    version: Literal[1] = 1
    """Version of the job language."""

    name: Annotated[str, AfterValidator(_check_name)] | None = None
    """Name of the job, the first part of each run's id; default: the file's name."""

    task: TaskName
    """What is learnt: it fixes the data's roles, the loss, the metrics and the predictions."""

    architecture: ArchitectureChoice | None = None
    """The network; default: the task's first family."""

    dataset: DatasetChoice
    """The samples to learn from."""

    training: Training = Field({}, validate_default=True)
    """How the network is trained."""

    resources: Resources = Field({}, validate_default=True)
    """The workers, and what each of them gets."""

    environment: Environment = Field({}, validate_default=True)
    """The code and the variables that the job brings along."""

    tracking: TrackingChoice = Field({}, validate_default=True)
    """Where the record goes; `none` switches MLflow off."""

    sweep: Sweep | None = None
    """Many trials of this job with other values; default: one run with these."""
