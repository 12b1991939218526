"""Where a run can be looked at: the page of an MLflow server that is up, or the command that starts one."""

import json
import os
from dataclasses import dataclass
from pathlib import Path

from stoker.settings import Settings, is_server, without_password
from stoker.tracking.run import RunRecord

MODE = "workflowType=machine_learning"
"""MLflow opens in its mode for language models unless the link says otherwise."""


@dataclass(frozen=True)
class LiveUi:
    """The UI that `stoker ui` keeps running for a home."""

    port: int
    pid: int
    uri: str
    """The store that it shows, without a password."""

    @property
    def base(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self.port}"


def note_path(home: Path) -> Path:
    """Name the file that says where the UI of a home runs."""
    return home / "ui.json"


def live_ui(home: Path, uri: str) -> LiveUi | None:
    """Find the UI of a store, if it is up."""
    try:
        content = json.loads(note_path(home).read_text(encoding="utf-8"))
        ui = LiveUi(int(content["port"]), int(content["pid"]), content["uri"])
        os.kill(ui.pid, 0)
    except (OSError, ValueError, KeyError, TypeError):
        return None
    if ui.uri != without_password(uri):
        return None
    import socket  # only who has a UI running pays for it

    try:
        socket.create_connection(("127.0.0.1", ui.port), timeout=0.3).close()
    except OSError:
        return None
    return ui


def run_link(record: RunRecord, settings: Settings) -> str:
    """Link to the page of a run; empty where no server shows it now, or none ever will."""
    uri, path = record.header.tracking_uri, record.status.url
    if not uri or not path or not path.startswith("/"):
        return path if uri else ""
    if is_server(uri):
        return without_password(uri) + path
    ui = live_ui(settings.home, uri)
    return ui.base + path if ui else ""


def run_page(record: RunRecord, settings: Settings) -> str:
    """Link to the page of a run, or name the command that opens it; empty for a run without a record in MLflow."""
    if not record.header.tracking_uri:
        return ""
    if record.header.cluster:  # its server has a name that the cluster alone knows
        return f"stoker ui {record.id}"
    return run_link(record, settings) or f"stoker ui {record.id}"
