"""Whether a failed attempt is followed by another one: a pure decision over the failures so far."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from stoker.errors import CAUSES, Cause, Retry

SAME_STEP_DEATHS = 3
"""So many deaths in a row at one step are no accident."""
LONGEST_WAIT_S = 30.0


@dataclass(frozen=True)
class Failure:
    """How an attempt failed."""

    cause: Cause
    message: str
    step: int
    """Steps that were done."""
    checkpoint_step: int
    """The step of the newest checkpoint; 0 without one."""
    died: bool = False
    """Whether a worker's process was simply gone."""
    micro_batch: int = 0
    """What each worker computed at once; 0 where training had not begun, so that a smaller one is no help."""


class Action(StrEnum):
    """What follows a failure."""

    END = "end"
    AGAIN = "again"
    SMALLER = "smaller"
    """Again with half the micro-batch."""


@dataclass(frozen=True)
class Decision:
    """What to do, when, and with which words."""

    action: Action
    cause: Cause
    message: str
    wait_s: float = 0.0


def decide(history: Sequence[Failure], retries: int, chance: float) -> Decision:
    """Decide after a failure.

    Args:
        history: every failure of this driver, the last one included.
        retries: `resources.retries`: how many attempts in a row may make no progress.
        chance: from 0 to 1; it spreads the waits of runs that failed together.

    """
    last = history[-1]
    idle = _without_progress(history)
    wait = _wait(idle, chance)
    again = Decision(Action.AGAIN, last.cause, last.message, wait)
    if retries == 0:
        return Decision(Action.END, last.cause, last.message)
    match CAUSES[last.cause].retried:
        case Retry.SMALLER if last.micro_batch > 1:
            return Decision(Action.SMALLER, last.cause, last.message, wait)
        case Retry.ONCE if not _repeated(history) and idle < retries:
            return again
        case Retry.AGAIN if _crash_loop(history):
            message = f"a worker died {SAME_STEP_DEATHS} times in a row after step {last.step}: {last.message}"
            return Decision(Action.END, Cause.CRASH_LOOP, message)
        case Retry.AGAIN if idle < retries:
            return again
        case Retry.AGAIN:
            return Decision(Action.END, last.cause, f"{last.message}; {idle} more attempts made no progress")
    return Decision(Action.END, last.cause, last.message)


def _without_progress(history: Sequence[Failure]) -> int:
    """Count the last failures that came without a newer checkpoint than the failure before them."""
    count = 0
    for before, after in zip(reversed(history[:-1]), reversed(history), strict=False):
        if after.checkpoint_step > before.checkpoint_step:
            break
        count += 1
    return count


def _repeated(history: Sequence[Failure]) -> bool:
    """Tell whether the last two failures are one and the same."""
    return len({(failure.cause, failure.step) for failure in history[-2:]}) == 1 < len(history)


def _crash_loop(history: Sequence[Failure]) -> bool:
    deaths = history[-SAME_STEP_DEATHS:]
    return len(deaths) == SAME_STEP_DEATHS and all(d.died and d.step == deaths[0].step for d in deaths)


def _wait(idle: int, chance: float) -> float:
    """Return 0 s first, then about 1, 2, 4 ... 30 s."""
    return min(2.0 ** (idle - 1), LONGEST_WAIT_S) * (0.75 + chance / 2) if idle else 0.0
