"""The errors that Stoker raises, grouped by the person who has to act.

StokerError
├── JobError          the author edits the job file; holds all its problems, each with its position
├── NotFound          the user names another run, file or key
├── ClusterError      the operator acts: a machine, a server or a disk refuses a request
│   ├── Unreachable   a server does not answer
│   └── AccessDenied  a server rejects the credentials or does not permit the request
├── StorageError      a folder or bucket refuses a read or a write; its cause decides who acts
├── Damaged           stored data is corrupt or missing
├── TrainingFailed    the run ended with a cause; its log has the details
└── WaitTimedOut      the run is healthy but not finished yet
"""

import copyreg
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any


class StokerError(Exception):
    """An error whose message is shown to the user without a traceback."""

    exit_code = 1

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle with all attributes: by default an exception is rebuilt from its message alone."""
        return copyreg.__newobj__, (type(self), *self.args), self.__dict__  # type: ignore[attr-defined] # pickle's own


@dataclass(frozen=True)
class Problem:
    """One mistake in a job: dotted key, message with cure, and position; lines and columns start at 1, 0 is unknown."""

    path: str
    message: str
    line: int = 0
    column: int = 0
    file: str = ""


class JobError(StokerError):
    """The job file is wrong and has to be edited."""

    exit_code = 2

    def __init__(self, problems: Iterable[Problem], origin: str = "") -> None:
        self.problems = tuple(problems)
        self.origin = origin
        super().__init__("; ".join(f"{p.path}: {p.message}" if p.path else p.message for p in self.problems))


class NotFound(StokerError):
    """The named run, file or key does not exist."""

    exit_code = 3


class ClusterError(StokerError):
    """The machine or cluster that should run the job refuses; the message names the setting and the cure."""

    exit_code = 1


class Unreachable(ClusterError):
    """A cluster or a tracking server does not answer."""

    exit_code = 4


class AccessDenied(ClusterError):
    """A server rejects the credentials or does not permit the request; a retry would not help."""

    exit_code = 4


class WaitTimedOut(StokerError):
    """The run was still active when the timeout of `wait` expired."""

    exit_code = 5


class Turn(StrEnum):
    """Who has to act after a failure; the value is the advice that is printed."""

    AUTHOR = "edit the job or its data"
    OPERATOR = "ask the administrator of the machine"
    NOBODY = "resume"


class Retry(StrEnum):
    """How the driver retries after a failure."""

    NEVER = "never"
    """Do not retry: the failure is deterministic, or somebody has to act first."""
    ONCE = "once"
    """Retry; stop if the run fails at the same step a second time."""
    AGAIN = "again"
    """Retry until `resources.retries` attempts in a row have made no progress."""
    SMALLER = "smaller"
    """Retry with half the micro-batch and the same global batch."""


class Cause(StrEnum):
    """Why a run failed."""

    BAD_DATA = "BAD_DATA"
    USER_CODE = "USER_CODE"
    NON_FINITE = "NON_FINITE"
    OOM_DEVICE = "OOM_DEVICE"
    OOM_HOST = "OOM_HOST"
    DISK_FULL = "DISK_FULL"
    STORAGE_AUTH = "STORAGE_AUTH"
    TIMED_OUT = "TIMED_OUT"
    NO_CAPACITY = "NO_CAPACITY"
    HANG = "HANG"
    CRASH_LOOP = "CRASH_LOOP"
    INTERNAL = "INTERNAL"
    INFRASTRUCTURE = "INFRASTRUCTURE"


@dataclass(frozen=True)
class CauseRow:
    """Consequences of a cause: who acts, how it is retried, the exit code and the advice."""

    turn: Turn
    retried: Retry
    exit_code: int
    cure: str


CAUSES: dict[Cause, CauseRow] = {
    # the author acts
    Cause.BAD_DATA: CauseRow(Turn.AUTHOR, Retry.NEVER, 1, "fix the data that the message names"),
    Cause.USER_CODE: CauseRow(Turn.AUTHOR, Retry.ONCE, 1, "fix the code at the end of the traceback in the log"),
    Cause.NON_FINITE: CauseRow(
        Turn.AUTHOR, Retry.NEVER, 1, "lower training.optimizer.lr or set training.gradient_clip"
    ),
    Cause.OOM_DEVICE: CauseRow(
        Turn.AUTHOR, Retry.SMALLER, 1, "one sample does not fit the device: use a smaller network or smaller samples"
    ),
    Cause.OOM_HOST: CauseRow(
        Turn.AUTHOR, Retry.SMALLER, 1, "use smaller images or fewer rows, or a machine with more memory"
    ),
    Cause.TIMED_OUT: CauseRow(
        Turn.AUTHOR, Retry.NEVER, 1, "resume for another resources.timeout; a longer one needs a new run"
    ),
    Cause.INTERNAL: CauseRow(Turn.AUTHOR, Retry.NEVER, 1, "read the log: it ends with the traceback"),
    # the operator acts
    Cause.DISK_FULL: CauseRow(Turn.OPERATOR, Retry.NEVER, 1, "free space where the runs are kept, then resume"),
    Cause.STORAGE_AUTH: CauseRow(Turn.OPERATOR, Retry.NEVER, 1, "fix the credentials of the storage, then resume"),
    Cause.NO_CAPACITY: CauseRow(
        Turn.OPERATOR, Retry.NEVER, 1, "request less in resources or free capacity on the cluster, then resume"
    ),
    Cause.CRASH_LOOP: CauseRow(
        Turn.OPERATOR, Retry.NEVER, 1, "the worker dies at the same step each time; the log's last lines may say why"
    ),
    # nobody acts: the driver retries by itself until the retries are used up
    Cause.HANG: CauseRow(Turn.NOBODY, Retry.AGAIN, 1, "the log has the stacks of every worker; resume"),
    Cause.INFRASTRUCTURE: CauseRow(Turn.NOBODY, Retry.AGAIN, 1, "resume"),
}


class StorageError(StokerError):
    """A folder or a bucket refuses a read or a write; the message names it and the cure."""

    def __init__(self, cause: Cause, message: str) -> None:
        self.cause = cause
        super().__init__(message)


class Damaged(StokerError):
    """A stored file is missing, or its size or checksum does not match its manifest."""


class TrainingFailed(StokerError):
    """A run started and ended without a result."""

    def __init__(self, cause: Cause, message: str) -> None:
        self.cause = cause
        self.message = message
        self.exit_code = CAUSES[cause].exit_code
        super().__init__(f"{cause}: {message}")
