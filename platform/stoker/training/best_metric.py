"""The best value of a metric over the epochs: it selects the weights, or decides when to stop early."""

import math
from dataclasses import dataclass

from stoker.job.task import Direction


@dataclass
class BestMetric:
    """The best value of a metric so far, with its epoch and step."""

    metric: str
    direction: Direction
    best: tuple[float, float] = (math.inf, math.inf)
    """The value, signed so that lower is better, and the loss as tie-breaker."""
    epoch: int = 0
    step: int = 0

    def update(self, metrics: dict[str, float], epoch: int, step: int) -> bool:
        """Return whether an epoch's metrics are the best so far; absent and non-finite values never are."""
        value = metrics.get(self.metric, math.nan)
        loss = metrics.get(f"loss/{self.metric.split('/')[1]}", math.inf)
        rank = (-value if self.direction == "max" else value, loss)
        if not math.isfinite(value) or rank >= self.best:
            return False
        self.best, self.epoch, self.step = rank, epoch, step
        return True
