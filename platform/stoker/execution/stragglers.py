"""Workers whose own work in a step takes much longer than that of the others, which wait for them."""

from collections.abc import Collection, Mapping
from statistics import median_low

from stoker.execution.heartbeat import Beat

FACTOR, UNTIL = 1.5, 1.3
"""A worker that needs so many times the median is a straggler, and until it needs less than so many times."""


def stragglers(beats: Mapping[int, Beat], known: Collection[int] = ()) -> dict[int, str]:
    """Return a description of each straggler by rank.

    Args:
        beats: the newest of each worker, by rank; those that know no time yet are left out.
        known: ranks of those that are stragglers so far.

    """
    timed = {rank: beat for rank, beat in sorted(beats.items()) if beat.step_s}
    if len(timed) < 2:
        return {}
    usual = median_low([beat.step_s for beat in timed.values()])
    return {
        rank: f"worker {rank}{_place_text(beat)}: {_time_text(beat.step_s)} of work a step, "
        f"{beat.step_s / usual:.1f} times the median of {_time_text(usual)}"
        for rank, beat in timed.items()
        if beat.step_s >= usual * beat.imbalance * (UNTIL if rank in known else FACTOR)
    }


def _place_text(beat: Beat) -> str:
    return f" on {beat.machine.name}" if beat.machine else ""


def _time_text(seconds: float) -> str:
    return f"{seconds:.2f} s" if seconds >= 1 else f"{seconds * 1e3:.3g} ms"
