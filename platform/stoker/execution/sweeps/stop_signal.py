"""The stop signal to trials that do not see the driver's files, in Ray's key-value store, which all nodes reach."""

from collections.abc import Iterable

from ray.experimental.internal_kv import _internal_kv_del, _internal_kv_get, _internal_kv_put

ALL = "all"


class StopSignal:
    """The stop signal of one sweep; it is cleared when the block ends.

    Args:
        sweep: its id.

    """

    def __init__(self, sweep: str) -> None:
        self._key = _key(sweep)
        self._sent: str | None = None

    def __enter__(self) -> "StopSignal":
        """Clear the signal of a killed driver."""
        self.request(all_trials=False, numbers=())
        return self

    def __exit__(self, *_: object) -> None:
        """Delete the signal."""
        _internal_kv_del(self._key)

    def request(self, all_trials: bool, numbers: Iterable[int]) -> None:
        """Ask these trials, and no others, to save a checkpoint and stop.

        Args:
            all_trials: whether all trials are asked.
            numbers: the trials to ask otherwise.

        """
        message = ALL if all_trials else " ".join(str(number) for number in sorted(numbers))
        if message != self._sent:
            _internal_kv_put(self._key, message, overwrite=True)
            self._sent = message


def stop_requested(trial: str) -> bool:
    """Return whether a trial is asked to stop."""
    sweep, _, number = trial.rpartition(".")
    try:
        words = (_internal_kv_get(_key(sweep)) or b"").decode().split()
    except Exception:  # Ray's store is unreachable, for now or with all of Ray
        return False
    return ALL in words or number in words


def _key(sweep: str) -> bytes:
    return f"stoker_stop_{sweep}".encode()
