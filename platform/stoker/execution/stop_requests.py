"""What somebody wants of a run that is going on: to end, to rest, or to make room."""

import math
import threading
import time
from enum import StrEnum

from stoker.tracking.run_folder import RunFolder


class StopReason(StrEnum):
    """Why a run is asked to stop; a checkpoint is written in each case."""

    CANCEL = "cancel"
    PAUSE = "pause"
    TIMEOUT = "timeout"
    """`resources.timeout` is over."""
    TERMINATE = "terminate"
    """The driver itself was told to end, as by a machine that shuts down: the run is interrupted."""


class StopRequests:
    """Listens for requests: files in the run's folder, the clock, and the driver's SIGTERM."""

    def __init__(self, folder: RunFolder, terminated: threading.Event) -> None:
        self._folder = folder
        self._terminated = terminated
        self._deadline = math.inf

    def start_timeout(self, timeout_s: float) -> None:
        """Let the run's time begin."""
        self._deadline = time.monotonic() + timeout_s

    def reason(self) -> StopReason | None:
        """Tell the strongest request there is; `cancel` and `pause` also signal, so their files come first."""
        if self._folder.cancel_request.exists():
            return StopReason.CANCEL
        if self._folder.pause_request.exists():
            return StopReason.PAUSE
        if time.monotonic() >= self._deadline:
            return StopReason.TIMEOUT
        return StopReason.TERMINATE if self._terminated.is_set() else None

    def wait(self, seconds: float, poll_s: float = 0.1) -> StopReason | None:
        """Wait so long, or until somebody asks for something."""
        end = time.monotonic() + seconds
        while (stop := self.reason()) is None and (left := end - time.monotonic()) > 0:
            time.sleep(min(poll_s, left))
        return stop
