"""Links to the page of a run in MLflow, or the command that opens it."""

import json
import os
from dataclasses import dataclass
from pathlib import Path

from stoker.settings import Settings, is_server, without_password
from stoker.tracking.run import RunRecord

HOST = "127.0.0.1"
MODE = "workflowType=machine_learning"
"""Without it, MLflow opens in its mode for language models."""


@dataclass(frozen=True)
class LiveUi:
    """The server that `stoker ui` runs for a home folder."""

    port: int
    pid: int
    uri: str
    """Of the store that it serves, without a password."""

    @property
    def base(self) -> str:
        """Its address."""
        return f"http://{HOST}:{self.port}"


def ui_file(home: Path) -> Path:
    """Return the file that names the server of a home folder."""
    return home / "ui.json"


def live_ui(home: Path, uri: str) -> LiveUi | None:
    """Return the running server of a store; None if there is none."""
    try:
        content = json.loads(ui_file(home).read_text(encoding="utf-8"))
        ui = LiveUi(int(content["port"]), int(content["pid"]), content["uri"])
        os.kill(ui.pid, 0)
    except (OSError, ValueError, KeyError, TypeError):
        return None
    if ui.uri != without_password(uri):
        return None
    import socket  # only needed if a server is recorded

    try:
        socket.create_connection((HOST, ui.port), timeout=0.3).close()
    except OSError:
        return None
    return ui


def run_link(record: RunRecord, settings: Settings) -> str:
    """Return the link to the page of a run; empty if no running server shows it."""
    uri, path = record.header.tracking_uri, record.status.url
    if not uri or not path or not path.startswith("/"):
        return path if uri else ""
    if is_server(uri):
        return without_password(uri) + path
    ui = live_ui(settings.home, uri)
    return ui.base + path if ui else ""


def run_page(record: RunRecord, settings: Settings) -> str:
    """Return the link to the page of a run, or the command that opens it; empty if it is not in MLflow."""
    if not record.header.tracking_uri:
        return ""
    if record.header.cluster:  # only the cluster resolves the name of its server
        return f"stoker ui {record.id}"
    return run_link(record, settings) or f"stoker ui {record.id}"
