"""A metric that is followed over the epochs: its best value selects the weights, or tells when to stop."""

import math
from dataclasses import dataclass

from stoker.job.task import Direction


@dataclass
class Watched:
    """The best value of a metric so far, and how long ago it was."""

    metric: str
    direction: Direction
    best: tuple[float, float] = (math.inf, math.inf)
    """The value, turned so that lower is better, and the loss that decides between equals."""
    epoch: int = 0
    step: int = 0

    def better(self, metrics: dict[str, float], epoch: int, step: int) -> bool:
        """Take in an epoch's metrics; True if they are the best so far. What is absent or not finite never is."""
        value = metrics.get(self.metric, math.nan)
        loss = metrics.get(f"loss/{self.metric.split('/')[1]}", math.inf)
        rank = (-value if self.direction == "max" else value, loss)
        if not math.isfinite(value) or rank >= self.best:
            return False
        self.best, self.epoch, self.step = rank, epoch, step
        return True
