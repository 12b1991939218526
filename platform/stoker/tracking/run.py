"""What is known of a run, as plain values."""

import hashlib
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from enum import StrEnum
from pathlib import Path
from typing import Any


class State(StrEnum):
    """Where a run stands; SUCCEEDED, FAILED, CANCELLED and PRUNED are final."""

    QUEUED = "QUEUED"
    """It waits for a place on its cluster."""
    PROVISIONING = "PROVISIONING"
    """Its pods are being made."""
    STARTING = "STARTING"
    RUNNING = "RUNNING"
    RETRYING = "RETRYING"
    """A failure is being mended by the next attempt."""
    PAUSED = "PAUSED"
    """It rests at a checkpoint until somebody resumes it."""
    INTERRUPTED = "INTERRUPTED"
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"
    PRUNED = "PRUNED"
    """Of a trial: its sweep has stopped it early, because others are better."""
    UNKNOWN = "UNKNOWN"
    """A word that this version does not know."""

    @classmethod
    def _missing_(cls, value: object) -> "State":
        return cls.UNKNOWN

    @property
    def final(self) -> bool:
        """Whether nothing follows any more."""
        return self in (State.SUCCEEDED, State.FAILED, State.CANCELLED, State.PRUNED)

    @property
    def ended(self) -> bool:
        """Whether nobody works on it: final, at rest, or without a driver."""
        return self.final or self in (State.PAUSED, State.INTERRUPTED)


WAITING = "waiting for room"
"""How the phase of a run begins that Ray has no place for yet."""


@dataclass(frozen=True)
class RunHeader:
    """Who a run is; never changes."""

    id: str
    name: str
    task: str
    family: str
    dataset: str
    created: float
    """Seconds since 1970."""
    order: int
    """Nanoseconds at creation: what `@last` and "newest" go by."""
    tracking_uri: str
    """Empty with `tracking: none`."""
    experiment: str
    key: str = ""
    """What `submit --key` called it: no other run of this home has the same."""
    extends: str = ""
    """Id of the finished run that this one goes on from."""
    storage: str = ""
    """Where its checkpoints go; empty: to its own folder."""
    cluster: str = ""
    """Name of the cluster that it is on, in the words of this home's settings; empty: this machine."""


@dataclass(frozen=True)
class RunStatus:
    """What is known of the run so far."""

    state: State = State.STARTING
    phase: str = "starting Ray"
    """What the run is busy with, in words."""
    cause: str = ""
    message: str = ""
    """For a failed run: what happened, and the cure."""
    started: float = 0.0
    ended: float = 0.0
    mlflow_run: str = ""
    url: str = ""
    """The page of the run, where a server shows it."""
    model_uri: str = ""
    metrics: dict[str, float] = field(default_factory=dict)
    """The results of the best weights, at the end."""
    exit_code: int = 0
    attempt: int = 0
    """How often training was begun, the first time included."""
    reopened: str = ""
    """The last `resume` that was heard, where each comes with a word of its own."""
    checkpoint_epoch: int = 0
    checkpoint_step: int = 0
    """Where the newest checkpoint stands; 0 without one."""

    def with_page(self, other: "RunStatus") -> "RunStatus":
        """Return this status with the MLflow run, its page and its model of another status."""
        return replace(self, mlflow_run=other.mlflow_run, url=other.url, model_uri=other.model_uri)

    def for_next_driver(self) -> "RunStatus":
        """Return the status with which the next driver begins: how far the run came, without how it ended."""
        return RunStatus(
            reopened=self.reopened,
            started=self.started,
            mlflow_run=self.mlflow_run,
            url=self.url,
            attempt=self.attempt,
            checkpoint_epoch=self.checkpoint_epoch,
            checkpoint_step=self.checkpoint_step,
        )

    @property
    def works(self) -> bool:
        """Whether a driver has begun and Ray has room for what it does."""
        return self.state is State.RUNNING and not self.phase.startswith(WAITING)


@dataclass(frozen=True)
class Progress:
    """How far training is; replaced a few times a second at most."""

    phase: str = "starting"
    epoch: int = 0
    epochs: int = 0
    step: int = 0
    steps: int = 0
    seconds_left: float = 0.0
    metrics: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class RunRecord:
    """A run as `ls`, `status` and `wait` see it."""

    header: RunHeader
    status: RunStatus
    folder: Path

    @property
    def id(self) -> str:
        """The run's id."""
        return self.header.id

    @property
    def state(self) -> State:
        """The run's state, the driver's lease considered."""
        return self.status.state


def status_from(content: dict[str, Any]) -> RunStatus:
    """Read what some version of a driver has written; nothing means that it is starting."""
    fields_of = known_fields(RunStatus, content)
    return RunStatus(**{**fields_of, "state": State(str(fields_of.get("state")))}) if fields_of else RunStatus()


def cancelled(status: RunStatus) -> RunStatus:
    """Let a run be over that nobody works on: somebody has ended it."""
    return replace(status, state=State.CANCELLED, phase="", cause="", message="", ended=now(), exit_code=1)


def new_run_id(name: str) -> str:
    """Name a new run of a job."""
    return f"{name}-{os.urandom(4).hex()}"


def keyed_run_id(name: str, key: str) -> str:
    """Name the run of a key, as every home names it."""
    return f"{name}-{hashlib.sha256(f'{name}/{key}'.encode()).hexdigest()[:8]}"


def now() -> float:
    """Seconds since 1970, for display only."""
    return time.time()


def known_fields(kind: type, content: Mapping[str, Any]) -> dict[str, Any]:
    """Leave out what a newer version wrote and this one does not know."""
    names = {field.name for field in fields(kind)}
    return {key: value for key, value in content.items() if key in names}
