"""The values that describe a run: header, status, progress."""

import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from enum import StrEnum
from pathlib import Path
from typing import Any


class State(StrEnum):
    """The state of a run; SUCCEEDED, FAILED, CANCELLED and PRUNED are final."""

    QUEUED = "QUEUED"
    """Waiting in its cluster's queue."""
    PROVISIONING = "PROVISIONING"
    """Its pods are being created."""
    STARTING = "STARTING"
    RUNNING = "RUNNING"
    RETRYING = "RETRYING"
    """The next attempt follows a failure."""
    PAUSED = "PAUSED"
    """Stopped at a checkpoint until it is resumed."""
    INTERRUPTED = "INTERRUPTED"
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"
    PRUNED = "PRUNED"
    """A trial that its sweep has stopped early."""
    UNKNOWN = "UNKNOWN"
    """A state of a newer version."""

    @classmethod
    def _missing_(cls, value: object) -> "State":
        return cls.UNKNOWN

    @property
    def final(self) -> bool:
        """Return whether the state is final."""
        return self in (State.SUCCEEDED, State.FAILED, State.CANCELLED, State.PRUNED)

    @property
    def ended(self) -> bool:
        """Return whether nothing runs: final, paused or interrupted."""
        return self.final or self in (State.PAUSED, State.INTERRUPTED)


WAITING = "waiting for resources"
"""Start of the phase text while Ray has no resources for the run."""


@dataclass(frozen=True)
class RunHeader:
    """The identity of a run; never changes."""

    id: str
    name: str
    task: str
    family: str
    dataset: str
    created: float
    """Seconds since 1970."""
    order: int
    """Nanoseconds at creation, by which `@last` and "newest" are found."""
    tracking_uri: str
    """Empty with `tracking: none`."""
    experiment: str
    key: str = ""
    """The key of `submit --key`, unique in a home."""
    extends: str = ""
    """Id of the finished run that this one extends."""
    storage: str = ""
    """Where its checkpoints are stored; empty for its own folder."""
    cluster: str = ""
    """Its cluster's name in the settings; empty for this machine."""
    own_code: bool = False
    """Whether it runs the user's own training code in place of a task."""
    profile_steps: int = 0
    """Number of steps that torch's profiler records; 0 for none."""


@dataclass(frozen=True)
class RunStatus:
    """The status of a run, as its driver writes it."""

    state: State = State.STARTING
    phase: str = "starting Ray"
    """The current activity, in words."""
    cause: str = ""
    message: str = ""
    """Of a failed run: the failure and its remedy."""
    started: float = 0.0
    ended: float = 0.0
    mlflow_run: str = ""
    url: str = ""
    """The page of the MLflow run, if a server shows it."""
    model_uri: str = ""
    metrics: dict[str, float] = field(default_factory=dict)
    """Results of the best weights, at the end."""
    facts: dict[str, str] = field(default_factory=dict)
    """Of a run that has succeeded: `end`, why training ended (length, time or early stopping); `best_epoch`, of the
    model's weights; `data`, the fingerprint."""
    exit_code: int = 0
    attempt: int = 0
    """Number of attempts so far."""
    failures: list[str] = field(default_factory=list)
    """Of the latest failed attempts that others followed: number, step, cause and message, a line each."""
    attempt_started: float = 0.0
    """Seconds since 1970, on the driver's clock."""
    workers: str = ""
    """How many workers train, if there are several or their number may change."""
    slow: list[str] = field(default_factory=list)
    """Workers whose steps take much longer than those of the others, which wait for them; a line each."""
    left_out: list[str] = field(default_factory=list)
    """Machines that this driver does not use again, each with the reason."""
    reopened: str = ""
    """Token of the last `resume` that was carried out."""
    checkpoint_epoch: int = 0
    checkpoint_step: int = 0
    """Step of the newest checkpoint; 0 without one."""

    def with_page(self, other: "RunStatus") -> "RunStatus":
        """Return this status with the MLflow run, its page and its model of another status."""
        return replace(self, mlflow_run=other.mlflow_run, url=other.url, model_uri=other.model_uri)

    def for_next_driver(self) -> "RunStatus":
        """Return the status with which the next driver starts: the run's progress without its outcome."""
        return RunStatus(
            reopened=self.reopened,
            started=self.started,
            mlflow_run=self.mlflow_run,
            url=self.url,
            attempt=self.attempt,
            failures=self.failures,
            checkpoint_epoch=self.checkpoint_epoch,
            checkpoint_step=self.checkpoint_step,
        )

    @property
    def works(self) -> bool:
        """Return whether a driver has started and Ray has resources for it."""
        return self.state is State.RUNNING and not self.phase.startswith(WAITING)


@dataclass(frozen=True)
class Progress:
    """The progress of training; rewritten a few times a second at most."""

    phase: str = "starting"
    epoch: int = 0
    epochs: int = 0
    step: int = 0
    steps: int = 0
    seconds_left: float = 0.0
    metrics: dict[str, float] = field(default_factory=dict)
    notes: dict[str, str] = field(default_factory=dict)
    """Weaknesses that the newest value of each metric shows, by name."""


@dataclass(frozen=True)
class RunRecord:
    """A run as `ls`, `status` and `wait` show it."""

    header: RunHeader
    status: RunStatus
    folder: Path

    @property
    def id(self) -> str:
        """Return the run's id."""
        return self.header.id

    @property
    def state(self) -> State:
        """Return the run's state, derived with the driver's lease."""
        return self.status.state


def status_from(content: dict[str, Any]) -> RunStatus:
    """Build a status from the JSON of any version; an empty one is a starting run."""
    fields_of = known_fields(RunStatus, content)
    return RunStatus(**{**fields_of, "state": State(str(fields_of.get("state")))}) if fields_of else RunStatus()


def cancelled(status: RunStatus) -> RunStatus:
    """Return the status of a run without a driver after `cancel`."""
    return replace(status, state=State.CANCELLED, phase="", cause="", message="", ended=now(), exit_code=1)


def new_run_id(name: str) -> str:
    """Return the id of a new run."""
    return f"{name}-{os.urandom(4).hex()}"


def keyed_run_id(name: str, key: str) -> str:
    """Return the id of a key's run, the same in every home."""
    import hashlib  # OpenSSL takes a thirtieth of the time of a short command

    return f"{name}-{hashlib.sha256(f'{name}/{key}'.encode()).hexdigest()[:8]}"


def now() -> float:
    """Return the seconds since 1970, for display only."""
    return time.time()


def known_fields(kind: type, content: Mapping[str, Any]) -> dict[str, Any]:
    """Drop fields of a newer version that this one does not know."""
    names = {field.name for field in fields(kind)}
    return {key: value for key, value in content.items() if key in names}
