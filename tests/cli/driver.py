"""A run's driver without the training: it holds the lease and does, line by line, what the test tells it to.

Each line on standard input is a JSON object with any of `log`, `status`, `progress`; each is answered with `done`.
SIGTERM ends it the way a cancelled run ends.
"""

import json
import os
import signal
import sys
from pathlib import Path

from stoker.tracking.record import Progress, RunFolder, RunStatus, State, now


def main() -> None:
    folder = RunFolder(Path(sys.argv[1]))
    folder.hold_lease(os.getpid())
    started = now()
    folder.write_status(RunStatus(state=State.RUNNING, phase="training", started=started))

    def end(_number: int, _frame: object) -> None:
        folder.write_status(RunStatus(state=State.CANCELLED, started=started, ended=now()))
        os._exit(0)

    signal.signal(signal.SIGTERM, end)
    print("done", flush=True)
    for line in sys.stdin:
        order = json.loads(line)
        if "log" in order:
            with folder.log.open("a", encoding="utf-8") as log:
                log.write(order["log"])
        if "progress" in order:
            folder.write_progress(Progress(**order["progress"]))
        if "status" in order:
            status = {"started": started, **order["status"]}
            folder.write_status(RunStatus(**{**status, "state": State(status["state"])}))
        print("done", flush=True)


main()
