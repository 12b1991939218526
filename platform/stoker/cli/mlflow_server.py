"""An MLflow server as a child process, which other commands can find and which ends with this one."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
from dataclasses import asdict
from types import TracebackType

from stoker.cli.mlflow_links import HOST, LiveUi, ui_file
from stoker.errors import ClusterError
from stoker.settings import Settings, without_password

PORTS_TRIED = 50
STOP_S = 5.0
LOG_LINES = 10
ENVIRONMENT = {
    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",  # seven more processes, for language models only
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "PYTHONUNBUFFERED": "1",
}


def free_port(first: int) -> int:
    """Return the first free port from a number on.

    Raises:
        ClusterError: none of the next ones is free.

    """
    for port in range(first, min(first + PORTS_TRIED, 65536)):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((HOST, port))
            except OSError:
                continue
            return port
    raise ClusterError(f"no free port from {first} on; name another with --port")


class MlflowServer:
    """The server; the end of the `with` block stops it."""

    def __init__(self, settings: Settings, port: int) -> None:
        self.home = settings.home
        self.log = settings.home / "ui.log"
        self._handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)}
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(  # noqa: S603 - our own interpreter and MLflow's own command
                server_command(settings, port),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=settings.home,  # MLflow imports from its working directory: a user's click.py would shadow click
                env={**os.environ, **ENVIRONMENT, "MLFLOW_BACKEND_STORE_URI": settings.tracking_uri},
                start_new_session=True,  # Ctrl-C reaches only this process, which then ends the whole group
            )
        self.ui = LiveUi(port, self.process.pid, without_password(settings.tracking_uri))

    def __enter__(self) -> "MlflowServer":
        for number in self._handlers:
            signal.signal(number, signal.default_int_handler)  # closing the terminal also ends the server
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            with contextlib.suppress(ProcessLookupError, subprocess.TimeoutExpired):
                os.killpg(self.process.pid, signal.SIGTERM)
                self.process.wait(STOP_S)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)  # what is left of the group
            self.process.wait()
            ui_file(self.home).unlink(missing_ok=True)
            for number, handler in self._handlers.items():
                signal.signal(number, handler)

    def announce(self) -> None:
        """Write the file by which other commands find the server."""
        ui_file(self.home).write_text(json.dumps(asdict(self.ui)), encoding="utf-8")

    def log_tail(self) -> str:
        """Return the last lines that the server printed."""
        lines = self.log.read_text(encoding="utf-8", errors="replace").splitlines()[-LOG_LINES:]
        return "\n".join(f"  | {line}" for line in lines)


def server_command(settings: Settings, port: int) -> list[str]:
    """Return the command line of a server; one worker, since more cost memory and 40 ms a request.

    The store is in the environment: everybody on this machine can read a command line, and a password in it.
    """
    return [
        *(sys.executable, "-m", "mlflow", "server"),
        *("--artifacts-destination", str(settings.artifacts)),
        *("--host", HOST),
        *("--port", str(port)),
        *("--workers", "1"),
    ]
