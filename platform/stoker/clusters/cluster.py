"""What every place to run can do with a run: the commands know no more of it."""

from typing import Protocol

from stoker.clusters.kubernetes.events import Event
from stoker.settings import Settings
from stoker.tracking.record import RunFolder
from stoker.tracking.run import RunRecord


class Cluster(Protocol):
    """A place to run, as seen from this home."""

    settings: Settings
    poll_s: float
    """Between two looks at a run."""

    def refresh(self, folder: RunFolder) -> RunRecord:
        """Bring this home's folder of a run up to date, and return its record."""

    def fetch_log(self, folder: RunFolder) -> None:
        """Bring what the run has printed so far to its folder."""

    def resume(self, folder: RunFolder) -> None:
        """Let a run that did not come to its end go on, and return at once."""

    def extend(self, folder: RunFolder, trials: int) -> None:
        """Let a sweep that has succeeded go on with more trials, and return at once."""

    def pause(self, folder: RunFolder) -> None:
        """Ask a run to rest at a checkpoint."""

    def cancel(self, folder: RunFolder) -> str:
        """Ask a run to end; return what its page in MLflow did not come to know, or nothing."""

    def kill(self, folder: RunFolder) -> str:
        """End a run at once, without a checkpoint; return what its page in MLflow did not come to know, or nothing."""

    def events(self, folder: RunFolder) -> list[Event]:
        """Tell what has happened to a run, the oldest first."""

    def fetch_model(self, folder: RunFolder) -> None:
        """Bring a run's model to its folder, where there is one."""
