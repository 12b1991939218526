"""The outcome of a worker, or of a whole attempt; plain values, because they are sent between processes."""

from dataclasses import dataclass, field, replace

from stoker.execution.machine import Machine
from stoker.tracking.system_metrics import SystemSample

RESULTS_LOST = "the first worker died before its results had arrived"


@dataclass(frozen=True)
class WorkerResult:
    """The outcome of a worker."""

    outcome: str
    """`succeeded`, `stopped` or `failed`."""
    cause: str = ""
    message: str = ""
    details: str = ""
    """Traceback, for the log."""
    lost_peers: bool = False
    """Whether it failed only because it lost another worker."""
    grows: bool = False
    """Whether it stopped because more workers can join the next attempt."""
    needs_all: bool = False
    """Whether its success counts only beside that of all other workers."""
    died: bool = False
    """Whether its process died, and the driver created this result."""
    step: int = 0
    """Steps done."""
    began: bool = False
    """Whether training began."""
    checkpoint: tuple[int, int] = (0, 0)
    """Epoch and step of the newest checkpoint; zeros without one."""
    metrics: dict[str, float] = field(default_factory=dict)
    """Of the best weights, by quantity and part."""
    best_step: int = 0
    facts: dict[str, str] = field(default_factory=dict)
    """Further tags of the MLflow run: fingerprint of the data, reason for the end."""
    device: str = ""
    """The fault of its device that ended it; see device_faults."""
    machine: Machine | None = None
    """Where it ran, if it is known."""
    note: str = ""
    """Description of the MLflow run, in Markdown; default: a table of the results."""
    system: tuple[SystemSample, ...] = ()
    """The newest system metrics of a heartbeat, which may not have been read, and those since."""

    def failed(self, cause: str, message: str) -> "WorkerResult":
        """Return this result as a failure that happened after the training."""
        return replace(self, outcome="failed", cause=cause, message=message)

    def failure_text(self, attempt: int) -> str:
        """Format a failed attempt for the run's log, with its traceback."""
        line = f"attempt {attempt} failed after step {self.step}: {self.cause}: {self.message}"
        return f"{self.details}\n{line}".lstrip()
