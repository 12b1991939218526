"""Cancel, pause, timeout and termination requests of a running job."""

import math
import threading
import time
from enum import StrEnum

from stoker.tracking.run_folder import RunFolder


class StopReason(StrEnum):
    """Why a run is asked to stop; it writes a checkpoint in each case."""

    CANCEL = "cancel"
    PAUSE = "pause"
    TIMEOUT = "timeout"
    """`resources.timeout` has passed."""
    TERMINATE = "terminate"
    """The driver received SIGTERM, such as on a machine that shuts down; the run is interrupted."""
    GROWING = "growing"
    """More workers can join; the run goes on with them."""
    LEAVING = "leaving"
    """The node of a worker is about to be taken away; the run goes on elsewhere."""


class StopRequests:
    """Checks for requests: files in the run's folder, the run's timeout, and SIGTERM."""

    def __init__(self, folder: RunFolder, terminated: threading.Event) -> None:
        self._folder = folder
        self._terminated = terminated
        self._deadline = math.inf

    def start_timeout(self, timeout_s: float) -> None:
        """Start the run's timeout."""
        self._deadline = time.monotonic() + timeout_s

    def reason(self) -> StopReason | None:
        """Return the strongest request; files come first, because `cancel` and `pause` also send SIGTERM."""
        if self._folder.cancel_request.exists():
            return StopReason.CANCEL
        if self._folder.pause_request.exists():
            return StopReason.PAUSE
        if time.monotonic() >= self._deadline:
            return StopReason.TIMEOUT
        return StopReason.TERMINATE if self._terminated.is_set() else None

    def wait(self, seconds: float, poll_s: float = 0.1) -> StopReason | None:
        """Wait, or return early with a request."""
        end = time.monotonic() + seconds
        while (stop := self.reason()) is None and (left := end - time.monotonic()) > 0:
            time.sleep(min(poll_s, left))
        return stop
