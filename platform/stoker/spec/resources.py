"""What a job needs to run."""

from typing import Annotated

from pydantic import AfterValidator, Field

from stoker.spec.section import Section


def _check_workers(workers: int) -> int:
    if workers > 1:
        raise ValueError("more than 1 worker is not known yet; use 1")
    return workers


class Resources(Section):
    """What each worker gets."""

    workers: Annotated[int, AfterValidator(_check_workers)] = Field(1, ge=1)
    """Training processes. More than one is not known yet."""

    gpus: int | None = Field(None, ge=0, le=1)
    """GPUs of a worker; default: one if the machine has one."""

    cpus: int | None = Field(None, ge=1, le=4096)
    """CPU cores of a worker, and its number of threads; default: the machine's, divided by the workers."""
