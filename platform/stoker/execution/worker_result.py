"""How a worker, or a whole attempt, ended; plain values, since they cross processes."""

from dataclasses import dataclass, field, replace

RESULTS_LOST = "the first worker died before its results were here"


@dataclass(frozen=True)
class WorkerResult:
    """How a worker ended."""

    outcome: str
    """succeeded, stopped or failed."""
    cause: str = ""
    message: str = ""
    details: str = ""
    """For the log: a traceback."""
    lost_peers: bool = False
    """Whether it failed only because another worker was gone."""
    died: bool = False
    """Whether its process was gone, so that this result is the driver's."""
    step: int = 0
    """Steps that were done."""
    began: bool = False
    """Whether it came to train."""
    checkpoint: tuple[int, int] = (0, 0)
    """Epoch and step of the newest checkpoint; zeros without one."""
    metrics: dict[str, float] = field(default_factory=dict)
    """Of the best weights, by quantity and part."""
    best_step: int = 0
    facts: dict[str, str] = field(default_factory=dict)
    """What else the record should say: fingerprint of the data, reason of the end."""
    note: str = ""
    """Description of the page, in Markdown; default: the results."""

    def failed(self, cause: str, message: str) -> "WorkerResult":
        """Return the result of a worker whose success has come to nothing."""
        return replace(self, outcome="failed", cause=cause, message=message)

    def failure_text(self, attempt: int) -> str:
        """Format a failed attempt for the run's log, with its traceback."""
        line = f"attempt {attempt} failed after step {self.step}: {self.cause}: {self.message}"
        return f"{self.details}\n{line}".lstrip()
