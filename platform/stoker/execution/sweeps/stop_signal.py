"""What a sweep's driver asks of trials that do not see its files: in Ray's own store, which every node reaches."""

from collections.abc import Iterable

from ray.experimental.internal_kv import _internal_kv_del, _internal_kv_get, _internal_kv_put

ALL = "all"


class StopSignal:
    """The driver's word to the trials of one sweep; leaving the block takes it back.

    Args:
        sweep: its id.

    """

    def __init__(self, sweep: str) -> None:
        self._key = _key(sweep)
        self._said: str | None = None

    def __enter__(self) -> "StopSignal":
        """Take back what a driver has said that was killed."""
        self.request(everybody=False, numbers=())
        return self

    def __exit__(self, *_: object) -> None:
        """Leave nothing."""
        _internal_kv_del(self._key)

    def request(self, everybody: bool, numbers: Iterable[int]) -> None:
        """Ask trials to save a checkpoint and stop, and no others any more.

        Args:
            everybody: whether all of them are asked.
            numbers: those that are asked otherwise.

        """
        word = ALL if everybody else " ".join(str(number) for number in sorted(numbers))
        if word != self._said:
            _internal_kv_put(self._key, word, overwrite=True)
            self._said = word


def stop_requested(trial: str) -> bool:
    """Tell whether a trial is asked to stop."""
    sweep, _, number = trial.rpartition(".")
    try:
        words = (_internal_kv_get(_key(sweep)) or b"").decode().split()
    except Exception:  # Ray's store is away for a moment, or for good: then so are we
        return False
    return ALL in words or number in words


def _key(sweep: str) -> bytes:
    return f"stoker_stop_{sweep}".encode()
