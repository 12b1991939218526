"""What a job needs to run."""

from pydantic import Field

from stoker.spec.section import Section, Time


class Resources(Section):
    """The workers, what each of them gets, and how long and how often the job may try."""

    workers: int = Field(1, ge=1, le=4096)
    """Training processes; the global batch is divided between them, and the result does not depend on their number."""

    gpus: int | None = Field(None, ge=0, le=1)
    """GPUs of a worker; default: one if the machine has one."""

    cpus: int | None = Field(None, ge=1, le=4096)
    """CPU cores and threads of a worker; default: one, or all of the machine where timing three steps shows a gain."""

    timeout: Time | None = None
    """Time of the whole job, such as `12 h`; at its end the job saves a checkpoint and fails as TIMED_OUT, whereas
    `training.time` ends training well."""

    retries: int = Field(3, ge=0, le=1000)
    """Attempts in a row without progress before a failure that is nobody's fault ends the run."""
