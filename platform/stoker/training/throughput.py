"""How fast a worker trains on texts: tokens without padding, and the time of the steps alone."""

import time


class Throughput:
    """Counts tokens and seconds of training steps: evaluation, checkpoints and what a caller does in between do not.

    Nothing here waits for the device: the time of steps that are not computed yet counts where their losses are read.
    """

    def __init__(self) -> None:
        self.tokens = 0
        """Of this worker, in this attempt."""
        self.seconds = 0.0
        self._began = 0.0

    def start(self) -> None:
        """Begin a step."""
        self._began = time.perf_counter()

    def stop(self, tokens: int = 0) -> None:
        """End a step on so many tokens, or the reading of losses."""
        self.seconds += time.perf_counter() - self._began
        self.tokens += tokens
