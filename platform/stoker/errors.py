"""What can go wrong, split by whose turn it is to act.

StokerError
├── JobError          edit the job file: every problem of it at once, each with its place
├── NotFound          name another run, file or key
├── ClusterError      the operator's turn: a machine, a server or a disk refuses
│   ├── Unreachable   a server does not answer
│   └── NoEntry       a server does not let us in
├── StorageError      a folder or bucket refuses to keep or to give; its cause says whose turn it is
├── Damaged           what lies in storage is not what was put there
├── TrainingFailed    read the log: the run ended with a cause
└── WaitTimedOut      nothing is wrong, it only takes longer
"""

import copyreg
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any


class StokerError(Exception):
    """Anything that Stoker says instead of showing a traceback."""

    exit_code = 1

    def __reduce__(self) -> tuple[Any, ...]:
        """Come to another process as what it is: Python would make it again from its text alone."""
        return copyreg.__newobj__, (type(self), *self.args), self.__dict__  # type: ignore[attr-defined] # pickle's own


@dataclass(frozen=True)
class Problem:
    """One mistake in a job: the dotted key, what is wrong and the cure; line and column are from 1, 0 where unknown."""

    path: str
    message: str
    line: int = 0
    column: int = 0
    file: str = ""


class JobError(StokerError):
    """The job file must change."""

    exit_code = 2

    def __init__(self, problems: Iterable[Problem], origin: str = "") -> None:
        self.problems = tuple(problems)
        self.origin = origin
        super().__init__("; ".join(f"{p.path}: {p.message}" if p.path else p.message for p in self.problems))


class NotFound(StokerError):
    """The named run, file or key does not exist."""

    exit_code = 3


class ClusterError(StokerError):
    """The place where the job should run refuses; the message names the setting and the cure."""

    exit_code = 1


class Unreachable(ClusterError):
    """A cluster or a tracking server does not answer."""

    exit_code = 4


class NoEntry(ClusterError):
    """A server does not know us, or does not allow it; to ask again would not help."""

    exit_code = 4


class WaitTimedOut(StokerError):
    """The run was still going when the time given to `wait` was over."""

    exit_code = 5


class Turn(StrEnum):
    """Whose turn it is after a failure."""

    AUTHOR = "edit the job or its data"
    OPERATOR = "ask whoever runs the machine"
    NOBODY = "resume"


class Retry(StrEnum):
    """What the driver does on its own after a failure."""

    NEVER = "never"
    """It would end the same way."""
    ONCE = "once"
    """Again; where it fails at the same step a second time, never."""
    AGAIN = "again"
    """Again, until `resources.retries` attempts in a row have made no progress."""
    SMALLER = "smaller"
    """Again with half the micro-batch, at the same global batch."""


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
    """What follows from a cause."""

    turn: Turn
    retried: Retry
    exit_code: int
    cure: str


CAUSES: dict[Cause, CauseRow] = {
    # the author's turn
    Cause.BAD_DATA: CauseRow(Turn.AUTHOR, Retry.NEVER, 1, "mend the data that the message names"),
    Cause.USER_CODE: CauseRow(Turn.AUTHOR, Retry.ONCE, 1, "mend the code that the traceback in the log ends in"),
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
        Turn.AUTHOR, Retry.NEVER, 1, "resume: it gets as long again; a longer resources.timeout needs a new run"
    ),
    Cause.INTERNAL: CauseRow(Turn.AUTHOR, Retry.NEVER, 1, "read the log: it ends with the traceback"),
    # the operator's turn
    Cause.DISK_FULL: CauseRow(Turn.OPERATOR, Retry.NEVER, 1, "free space where the runs are kept, then resume"),
    Cause.STORAGE_AUTH: CauseRow(Turn.OPERATOR, Retry.NEVER, 1, "mend the credentials of the storage, then resume"),
    Cause.NO_CAPACITY: CauseRow(
        Turn.OPERATOR, Retry.NEVER, 1, "ask for less in resources, or for room on the cluster, then resume"
    ),
    Cause.CRASH_LOOP: CauseRow(
        Turn.OPERATOR, Retry.NEVER, 1, "the worker dies at the same step each time; the log's last lines may say why"
    ),
    # nobody's: it goes on by itself while the budget lasts
    Cause.HANG: CauseRow(Turn.NOBODY, Retry.AGAIN, 1, "the log has the stacks of every worker; resume"),
    Cause.INFRASTRUCTURE: CauseRow(Turn.NOBODY, Retry.AGAIN, 1, "resume"),
}


class StorageError(StokerError):
    """A folder or a bucket refuses; the message names it and the cure."""

    def __init__(self, cause: Cause, message: str) -> None:
        self.cause = cause
        super().__init__(message)


class Damaged(StokerError):
    """A stored file is not what was put there: another size, another checksum, or not there at all."""


class TrainingFailed(StokerError):
    """A run that started ended without a result."""

    def __init__(self, cause: Cause, message: str) -> None:
        self.cause = cause
        self.message = message
        self.exit_code = CAUSES[cause].exit_code
        super().__init__(f"{cause}: {message}")
