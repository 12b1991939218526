"""System metrics on their way to MLflow: samples of the workers' machines, named and numbered as MLflow's own."""

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from stoker.tracking.journal import Point

PREFIX = "system/"
"""Of the metrics that MLflow shows on the page of system metrics."""
STEP_WORK = "step_work_milliseconds"
"""Mean time of a worker's own work in a step, without waiting for others: Stoker's own metric among MLflow's."""
TOKENS = "tokens_per_second"
"""Tokens of texts that a worker trains on, without padding, in the time of its steps: Stoker's own metric, too."""
MOST_SAMPLES = 10_000
"""Samples kept while MLflow is down; older ones are dropped."""


@dataclass(frozen=True)
class SystemSample:
    """System metrics at one time."""

    time_ms: int
    metrics: dict[str, float]
    """By MLflow's names, without the prefix."""


class SystemMetrics:
    """Samples that are not in MLflow yet. They are in no journal, and lost with the driver."""

    def __init__(self) -> None:
        self._samples: deque[tuple[str, SystemSample]] = deque(maxlen=MOST_SAMPLES)
        self._next_steps: dict[str, int] = {}
        """By node."""

    def add(self, node: str, sample: SystemSample) -> None:
        """Add a sample.

        Args:
            node: the worker, such as `worker-1`; empty if there is only one.
            sample: of the worker.

        """
        self._samples.append((node, sample))

    def take(self, last_step: Callable[[str], int]) -> Iterator[Point]:
        """Yield the values of all samples and forget the samples; the numbers continue those that MLflow has.

        Args:
            last_step: returns a metric's last step in MLflow; -1 for none. If it raises, no sample is lost.

        """
        while self._samples:
            node, sample = self._samples[0]
            prefix = f"{PREFIX}{node}/" if node else PREFIX
            if node not in self._next_steps:
                self._next_steps[node] = 1 + last_step(prefix + next(iter(sample.metrics)))
            step = self._next_steps[node]
            self._next_steps[node] += 1
            self._samples.popleft()
            yield from (Point(prefix + key, value, sample.time_ms, step) for key, value in sample.metrics.items())
