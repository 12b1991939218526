"""An embedded Ray session of one run: isolated from all others, and stopped with the run."""

import os
import secrets
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from stoker.execution.network import free_port

if TYPE_CHECKING:
    import psutil

OBJECT_STORE_BYTES = 100 * 1024 * 1024
"""Enough without shared data: workers hold the data themselves, and Ray transfers a few kilobytes."""


@contextmanager
def embedded_ray(
    cpus: int, shares_data: bool = False, dashboard: bool = False, libraries: Sequence[str] = ()
) -> Iterator[Path]:
    """Start a Ray session for this process alone, and stop it when the block ends.

    Args:
        cpus: logical CPUs of the session.
        shares_data: whether processes share a dataset; the object store then has Ray's default size.
        dashboard: whether to start Ray's dashboard, which Ray Train asks about its own processes.
        libraries: modules that each of its processes imports while Ray starts.

    Yields:
        The session's folder. If its path is written to a file, `remove_stale_session` can clean up after a killed
            driver.

    """
    folder = Path(tempfile.mkdtemp(prefix="stoker-"))  # short: socket paths below it have at most 107 bytes
    port = free_port()
    os.environ.update(
        RAY_API_SERVER_ADDRESS=f"http://127.0.0.1:{port}",  # otherwise Ray uses the first cluster that it finds
        RAY_AUTH_MODE="token",
        RAY_AUTH_TOKEN=secrets.token_hex(32),  # valid in this session only, and in no file
        RAY_USAGE_STATS_ENABLED="0",
        RAY_ENABLE_UV_RUN_RUNTIME_ENV="0",
        RAY_COLOR_PREFIX="0",
        RAY_DEDUP_LOGS="0",  # keep every worker's lines
        RAY_preload_python_modules=",".join(libraries),
        RAY_worker_niceness="0",
    )
    for inherited in ("RAY_ADDRESS", "RAY_NAMESPACE", "RAY_RUNTIME_ENV_HOOK"):
        os.environ.pop(inherited, None)
    import ray  # after the environment is set, which Ray reads on import

    try:
        ray.init(
            address="local",
            num_cpus=cpus,
            include_dashboard=dashboard,
            dashboard_port=port,
            object_store_memory=None if shares_data else OBJECT_STORE_BYTES,
            _temp_dir=str(folder),
            logging_level="warning",
        )
        yield folder
    finally:
        ray.shutdown()
        shutil.rmtree(folder, ignore_errors=True)


def remove_stale_session(note: Path) -> None:
    """Remove the session of a killed driver: its folder, and processes of its Ray that are still running."""
    if not note.is_file():
        return
    folder = Path(note.read_text(encoding="utf-8"))
    if folder.name.startswith("stoker-") and folder.is_dir():
        for process in _processes_of(folder):
            process.kill()
        shutil.rmtree(folder, ignore_errors=True)
    note.unlink(missing_ok=True)


def _processes_of(folder: Path) -> "list[psutil.Process]":
    """Find Ray's processes by the log files that they hold open in the session's folder."""
    import psutil  # needed only after a kill

    found = []
    for process in psutil.process_iter(["name"]):
        if not (process.info["name"] or "").startswith(("ray::", "raylet", "gcs_server")):
            continue
        with suppress(psutil.Error):
            if any(Path(file.path).is_relative_to(folder) for file in process.open_files()):
                found.append(process)
    return found
