"""What a job needs to run."""

import re
from typing import Annotated

from pydantic import AfterValidator, Field

from stoker.job.section import Section, Size, Time

LABEL = r"[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?"


def _check_label(text: str) -> str:
    if not re.fullmatch(LABEL, text):
        raise ValueError(f"'{text}' is no label of Kubernetes: letters, digits, '-', '_' and '.', at most 63")
    return text


def _check_gpus(number: float) -> float:
    if not 0 <= number <= 1:
        raise ValueError(f"{number:g} is neither 0 nor 1 nor a part of one such as 0.25")
    return int(number) if number in {0, 1} else number


Gpus = Annotated[float, AfterValidator(_check_gpus), Field(json_schema_extra={"minimum": 0, "maximum": 1})]
Label = Annotated[str, AfterValidator(_check_label), Field(json_schema_extra={"pattern": f"^{LABEL}$"})]


class Resources(Section):
    """The workers, what each of them gets, and how long and how often the job may try."""

    workers: int = Field(1, ge=1, le=4096)
    """Training processes; the global batch is divided between them, and the result does not depend on their number."""

    gpus: Gpus | None = None
    """GPUs of a worker, 0 or 1, or the part of one that a trial of a sweep gets, such as `0.25`, so that four of them
    share it; default: one if the machine has one."""

    cpus: int | None = Field(None, ge=1, le=4096)
    """CPU cores and threads of a worker; default: one, or all of the machine where timing three steps shows a gain."""

    memory: Size | None = None
    """Memory of a worker on a cluster, such as `16GiB`; default: what its administrator says."""

    accelerator: Label | None = None
    """Kind of GPU on a cluster, such as `H200`; default: any."""

    queue: Label | None = None
    """Queue of the cluster that the job waits in; default: the one that its administrator names, if any."""

    priority: Label | None = None
    """The job's priority in its queue, by the name of a class of the cluster."""

    timeout: Time | None = None
    """Time of the whole job, such as `12 h`; at its end the job saves a checkpoint and fails as TIMED_OUT, whereas
    `training.time` ends training well."""

    retries: int = Field(3, ge=0, le=1000)
    """Attempts in a row without progress before a failure that is nobody's fault ends the run."""
