"""A run's driver without the training: it holds the lease, and says of the run what the test wants.

`driver.py FOLDER` does, line by line, what the test tells it to: each line on standard input is a JSON object with any
of `log`, `status`, `progress`; each is answered with `done`.

`driver.py --standby FD --workers N [--gpus G]` gets folder and lease over the socket, as the real one does. Its run
stands at a checkpoint and succeeds as soon as the file `finish` is in its folder.

Either way, SIGTERM ends the run as it was asked to: at rest, or cancelled.
"""

import argparse
import json
import os
import signal
import socket
import sys
import time
from dataclasses import replace
from pathlib import Path

from stoker.tracking.run import Progress, RunStatus, State, now
from stoker.tracking.run_folder import RunFolder

POLL_S = 0.01
CLOSING_S = 0.3
"""The real one puts Ray away after its last word."""


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path, nargs="?")
    parser.add_argument("--standby", type=int)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--gpus", type=int)
    arguments = parser.parse_args()
    if arguments.standby is None:
        obey(RunFolder(arguments.folder))
    else:
        stand_by(socket.socket(fileno=arguments.standby))


def obey(folder: RunFolder) -> None:
    folder.hold_lease(os.getpid())
    started = now()
    folder.write_status(RunStatus(state=State.RUNNING, phase="training", started=started))

    def end(_number: int, _frame: object) -> None:
        folder.write_status(RunStatus(state=wanted(folder), started=started, ended=now()))
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


def stand_by(connection: socket.socket) -> None:
    signal.signal(signal.SIGTERM, lambda *_: None)  # the request says what is wanted
    message, leases, _, _ = socket.recv_fds(connection, 65536, 1)
    if not message:
        return
    assert leases
    folder = RunFolder(Path(message.decode()))
    seen = {"arguments": sys.argv[1:], "environment": dict(os.environ)}
    (folder.path / "driver.json").write_text(json.dumps(seen))
    status = folder.status()
    status = replace(status, state=State.RUNNING, started=status.started or now(), attempt=status.attempt + 1)
    status = replace(status, checkpoint_epoch=3, checkpoint_step=120)
    folder.write_status(status)
    while not (folder.path / "finish").exists():
        if wanted(folder) is not State.RUNNING:
            folder.write_status(replace(status, state=wanted(folder), ended=now()))
            time.sleep(CLOSING_S)
            return
        time.sleep(POLL_S)
    (folder.path / "finish").unlink()
    folder.resolved.write_text(folder.job.read_text())
    folder.write_status(replace(status, state=State.SUCCEEDED, ended=now()))


def wanted(folder: RunFolder) -> State:
    if folder.pause_request.exists():
        return State.PAUSED
    return State.CANCELLED if folder.cancel_request.exists() else State.RUNNING


main()
