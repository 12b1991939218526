"""Settings of `resources`: workers, hardware, queue, timeout and retries."""

import re
from typing import Annotated

from pydantic import AfterValidator, Field

from stoker.job.section import Section, Size, Time

LABEL = r"[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?"


def _check_label(text: str) -> str:
    if not re.fullmatch(LABEL, text):
        raise ValueError(f"'{text}' is not a Kubernetes label: letters, digits, '-', '_' and '.', at most 63")
    return text


def _check_gpus(number: float) -> float:
    if not 0 <= number <= 1:
        raise ValueError(f"{number:g} is neither 0 nor 1 nor a fraction such as 0.25")
    return int(number) if number in {0, 1} else number


Gpus = Annotated[float, AfterValidator(_check_gpus), Field(json_schema_extra={"minimum": 0, "maximum": 1})]
Label = Annotated[str, AfterValidator(_check_label), Field(json_schema_extra={"pattern": f"^{LABEL}$"})]


class Resources(Section):
    """Number of workers, the hardware of each of them, and the limits of the job."""

    workers: int = Field(1, ge=1, le=4096)
    """Number of training processes. The global batch is divided between them, so the result does not depend on their
    number."""

    gpus: Gpus | None = None
    """GPUs per worker: 0 or 1, or in a sweep a fraction such as `0.25`, so that four trials share a GPU.
    Default: 1 if the machine has a GPU, else 0."""

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
