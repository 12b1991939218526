"""Where a driver on a cluster and its clients leave word for each other: requests come, the state goes."""

import threading
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any, Protocol

from stoker.execution.contract import PROGRESS, STATUS
from stoker.tracking.record import RunFolder

LOOK_EVERY_S = 2.0


class Mailbox(Protocol):
    """One driver's place for messages."""

    def say(self, name: str, content: dict[str, Any]) -> None:
        """Leave the newest of a kind of message, if it is another one than before."""

    def request(self) -> str:
        """Tell what somebody asks for; empty for nothing."""

    def end(self) -> None:
        """Hear that the run is over for good."""


@contextmanager
def followed(mailbox: Mailbox, folder: RunFolder, progress_every: int) -> Iterator[None]:
    """For the length of a block, hand requests to the driver as files of the run's folder, and say what has changed.

    Args:
        mailbox: of the driver.
        folder: of the run.
        progress_every: of so many looks one also tells how far training is.

    """
    over = threading.Event()
    thread = threading.Thread(target=_follow, args=(mailbox, folder, progress_every, over), name="mailbox", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def _follow(mailbox: Mailbox, folder: RunFolder, progress_every: int, over: threading.Event) -> None:
    looks = 0
    while True:
        ended = over.wait(LOOK_EVERY_S)
        looks += 1
        try:
            mailbox.say(STATUS, asdict(folder.status()))
            if ended or looks % progress_every == 0:
                mailbox.say(PROGRESS, asdict(folder.progress()))
            match mailbox.request():
                case "cancel":
                    folder.cancel_request.touch()
                case "pause":
                    folder.pause_request.touch()
        except Exception:  # a server that is down harms no run: it is asked again
            traceback.print_exc()
        if ended:
            if folder.status().state.final:
                mailbox.end()
            return
