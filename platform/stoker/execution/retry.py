"""The decision whether to retry a failed attempt, as a pure function of the failures so far."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from stoker.errors import CAUSES, Cause, Retry

SAME_STEP_DEATHS = 3
"""This many consecutive deaths at the same step are a crash loop."""
MAX_WAIT_S = 30.0


@dataclass(frozen=True)
class Failure:
    """A failed attempt."""

    cause: Cause
    message: str
    step: int
    """Steps done."""
    checkpoint_step: int
    """Step of the newest checkpoint; 0 without one."""
    died: bool = False
    """Whether a worker's process died."""
    micro_batch: int = 0
    """Samples that each worker computed at once; 0 if training had not begun, so that a smaller one cannot help."""


class Action(StrEnum):
    """The reaction to a failure."""

    END = "end"
    AGAIN = "again"
    SMALLER = "smaller"
    """Retry with half the micro-batch."""


@dataclass(frozen=True)
class Decision:
    """The reaction to a failure, its delay, and the message of the run."""

    action: Action
    cause: Cause
    message: str
    wait_s: float = 0.0


def decide(history: Sequence[Failure], retries: int, chance: float) -> Decision:
    """Decide between retry and end after a failure.

    Args:
        history: all failures of this driver, the last one included.
        retries: `resources.retries`: how many consecutive attempts may make no progress.
        chance: from 0 to 1; spreads the retries of runs that failed together.

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
    """Count the latest failures without a newer checkpoint than the failure before them."""
    count = 0
    for before, after in zip(reversed(history[:-1]), reversed(history), strict=False):
        if after.checkpoint_step > before.checkpoint_step:
            break
        count += 1
    return count


def _repeated(history: Sequence[Failure]) -> bool:
    """Return whether the last two failures have the same cause and step."""
    return len({(failure.cause, failure.step) for failure in history[-2:]}) == 1 < len(history)


def _crash_loop(history: Sequence[Failure]) -> bool:
    deaths = history[-SAME_STEP_DEATHS:]
    return len(deaths) == SAME_STEP_DEATHS and all(d.died and d.step == deaths[0].step for d in deaths)


def _wait(idle: int, chance: float) -> float:
    """Return the backoff: 0 s first, then about 1, 2, 4 ... 30 s."""
    return min(2.0 ** (idle - 1), MAX_WAIT_S) * (0.75 + chance / 2) if idle else 0.0
