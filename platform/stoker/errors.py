"""What can go wrong, split by whose turn it is to act.

StokerError
├── JobError          edit the job file: every problem of it at once, each with its place
├── NotFound          name another run, file or key
├── ClusterError      the operator's turn: a machine, a server or a disk refuses
│   └── Unreachable   a server does not answer
├── TrainingFailed    read the log: the run ended with a cause
└── WaitTimedOut      nothing is wrong, it only takes longer
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum


class StokerError(Exception):
    """Anything that Stoker says instead of showing a traceback."""

    exit_code = 1


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


class WaitTimedOut(StokerError):
    """The run was still going when the time given to `wait` was over."""

    exit_code = 5


class Turn(StrEnum):
    """Whose turn it is after a failure."""

    AUTHOR = "edit the job or its data"
    OPERATOR = "ask whoever runs the machine"
    NOBODY = "resubmit"


class Cause(StrEnum):
    """Why a run failed."""

    BAD_DATA = "BAD_DATA"
    NON_FINITE = "NON_FINITE"
    OOM_DEVICE = "OOM_DEVICE"
    OOM_HOST = "OOM_HOST"
    DISK_FULL = "DISK_FULL"
    INTERNAL = "INTERNAL"
    INFRASTRUCTURE = "INFRASTRUCTURE"


@dataclass(frozen=True)
class CauseRow:
    """What follows from a cause."""

    turn: Turn
    exit_code: int
    cure: str


CAUSES: dict[Cause, CauseRow] = {
    Cause.BAD_DATA: CauseRow(Turn.AUTHOR, 1, "mend the data that the message names"),
    Cause.NON_FINITE: CauseRow(Turn.AUTHOR, 1, "lower training.optimizer.lr or set training.gradient_clip"),
    Cause.OOM_DEVICE: CauseRow(Turn.AUTHOR, 1, "lower training.micro_batch; the result stays the same"),
    Cause.OOM_HOST: CauseRow(Turn.AUTHOR, 1, "use smaller images or fewer rows, or a machine with more memory"),
    Cause.DISK_FULL: CauseRow(Turn.OPERATOR, 1, "free space where the runs are kept"),
    Cause.INTERNAL: CauseRow(Turn.AUTHOR, 1, "read the log: it ends with the traceback"),
    Cause.INFRASTRUCTURE: CauseRow(Turn.NOBODY, 1, "submit again"),
}


class TrainingFailed(StokerError):
    """A run that started ended without a result."""

    def __init__(self, cause: Cause, message: str) -> None:
        self.cause = cause
        self.message = message
        self.exit_code = CAUSES[cause].exit_code
        super().__init__(f"{cause}: {message}")
