"""Settings of `resources`: workers, hardware, queue, timeout and retries."""

import re
from typing import Annotated

from pydantic import AfterValidator, Field, Tag

from stoker.job.section import NUMBER_OR_SECTION, Section, Size, Time

MOST_WORKERS = 4096
MOST_GPUS = 64
"""Of a worker: more than any node has."""
LABEL = r"[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?"


def _check_label(text: str) -> str:
    if not re.fullmatch(LABEL, text):
        raise ValueError(f"'{text}' is not a Kubernetes label: letters, digits, '-', '_' and '.', at most 63")
    return text


def _check_gpus(number: float) -> float:
    if number > 1 and number % 1:
        raise ValueError(f"{number:g} is neither a whole number nor a fraction of one GPU such as 0.25")
    return number if number % 1 else int(number)


Gpus = Annotated[float, Field(ge=0, le=MOST_GPUS), AfterValidator(_check_gpus)]
Label = Annotated[str, AfterValidator(_check_label), Field(json_schema_extra={"pattern": f"^{LABEL}$"})]


class Elastic(Section):
    """A number of workers that follows what the cluster has room for."""

    min: int = Field(1, ge=1, le=MOST_WORKERS)
    """The job starts once it has so many workers, and goes on as long as it has them."""

    max: int = Field(ge=1, le=MOST_WORKERS)
    """It takes so many where there is room, also while it trains."""


Workers = Annotated[
    Annotated[int, Field(ge=1, le=MOST_WORKERS), Tag("number")] | Annotated[Elastic, Tag("section")], NUMBER_OR_SECTION
]


class Resources(Section):
    """Number of workers, the hardware of each of them, and the limits of the job."""

    workers: Workers = 1
    """Number of training processes. The global batch is divided between them, so the result does not depend on their
    number. `{min: 4, max: 16}` goes on with as many as a cluster has room for: without those of a lost node, and with
    more of them once there is room."""

    gpus: Gpus | None = None
    """GPUs per worker: 0 or 1, or in a sweep a fraction such as `0.25`, so that four trials share a GPU; for own code
    also more. Default: 1 if the machine has a GPU, else 0."""

    workers_per_node: int | None = Field(None, ge=1, le=MOST_GPUS)
    """Workers that share a node of a Kubernetes cluster, each with its own GPUs: a pod has room for so many, and they
    exchange gradients over NVLink. Default: as many as the cluster's administrator has set for the accelerator, else 1.
    """

    cpus: int | None = Field(None, ge=1, le=4096)
    """CPU cores and threads per worker. Default: 1, or all cores of the machine if a timing of three steps shows that
    they train faster."""

    memory: Size | None = None
    """Memory per worker on a cluster, such as `16GiB`; default: set by the cluster's administrator."""

    accelerator: Label | None = None
    """GPU model on a cluster, such as `H200`; default: any."""

    queue: Label | None = None
    """Queue of the cluster in which the job waits; default: set by the cluster's administrator, if any."""

    priority: Label | None = None
    """Name of a priority class of the cluster, which orders the jobs of a queue."""

    timeout: Time | None = None
    """Time limit of the whole job, such as `12 h`. When it expires, the job saves a checkpoint and fails as TIMED_OUT;
    to end training successfully after some time, use `training.time`."""

    retries: int = Field(3, ge=0, le=1000)
    """Number of attempts in a row without progress after which a failure of the infrastructure, such as a lost worker,
    ends the run."""

    @property
    def most_workers(self) -> int:
        """Return the largest number of workers."""
        return self.workers.max if isinstance(self.workers, Elastic) else self.workers

    @property
    def least_workers(self) -> int:
        """Return the number of workers without which the job does not train."""
        return self.workers.min if isinstance(self.workers, Elastic) else self.workers
