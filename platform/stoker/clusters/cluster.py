"""The contract of a cluster: what each place to run implements, and `verbs` and the commands build on."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from stoker.clusters.new_run import Origin
from stoker.settings import Settings
from stoker.tracking.run import RunRecord
from stoker.tracking.run_folder import RunFolder

if TYPE_CHECKING:
    from stoker.job.own_code import AnyJob


@dataclass(frozen=True)
class Event:
    """An event that a cluster has recorded about a run."""

    time: float
    """Of its last occurrence, in seconds since 1970."""
    kind: str
    """`Normal` or `Warning`."""
    about: str
    """The object, without the run's own name where that is part of its name: `head`, `RayJob`."""
    reason: str
    message: str
    count: int
    """Number of occurrences."""


class Cluster(Protocol):
    """A place to run, as seen from one home folder."""

    settings: Settings
    poll_s: float
    """Seconds between two refreshes of a run that somebody watches."""

    def submit(self, job: "AnyJob", origin: Origin | None = None) -> RunFolder:
        """Start a run and return at once.

        Raises:
            JobError: the cluster does not have what the job asks for.
            ClusterError: the cluster refuses; the message quotes it.
            Unreachable: it does not answer.

        """

    def refresh(self, folder: RunFolder) -> RunRecord:
        """Update the local folder of a run from the cluster, and return its record."""

    def restart(self, folder: RunFolder, more_trials: int = 0) -> None:
        """Start the next attempt of a run that has ended, and return at once.

        Args:
            folder: of the run.
            more_trials: trials to add to a sweep.

        """

    def request_pause(self, folder: RunFolder) -> None:
        """Ask the driver of a run to stop at a checkpoint."""

    def request_cancel(self, folder: RunFolder) -> bool:
        """Ask the driver of a run to end it; return False if there is no driver that will."""

    def cancel_trial(self, trial: RunFolder) -> None:
        """Ask the driver of a sweep to end one of its trials."""

    def stop_driver(self, folder: RunFolder) -> None:
        """End the driver of a run without waiting for a checkpoint."""

    def close(self, folder: RunFolder) -> str:
        """Mark a run without a driver as CANCELLED; return why MLflow could not be told, or an empty string."""

    def remove(self, folder: RunFolder) -> None:
        """Delete what the cluster itself keeps of a run that has ended; its checkpoints and MLflow's record stay."""

    def events(self, folder: RunFolder) -> list[Event]:
        """Return what has happened to a run, the oldest first."""

    def fetch_log(self, folder: RunFolder) -> None:
        """Download what the run has printed so far to its folder."""

    def fetch_model(self, folder: RunFolder) -> None:
        """Download the model of a run to its folder, if it has one."""
