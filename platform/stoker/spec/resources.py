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
    """CPU cores and threads of a worker; default: one, or all of the machine where timing three steps shows a gain."""
