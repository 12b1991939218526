"""A cluster whose drivers do not train; see ../cli/driver.py."""

import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from stoker.clusters.local.cluster import LocalCluster
from stoker.jobfile.loading import parse_job
from stoker.settings import Settings, load_settings
from stoker.tracking.run_folder import RunFolder

DRIVER = (sys.executable, str(Path(__file__).parents[1] / "cli" / "driver.py"))
DEADLINE_S = 20.0
JOB = "name: tiny\ntask: tabular-classification\ndataset: iris\n"


def wait_until(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline, f"waited {DEADLINE_S:g} s for {what}"
        time.sleep(0.01)


@pytest.fixture
def until() -> Callable[[Callable[[], bool], str], None]:
    return wait_until


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return load_settings(str(tmp_path / "home"), environment={"XDG_CONFIG_HOME": str(tmp_path)})


@pytest.fixture
def cluster(settings: Settings) -> Iterator[LocalCluster]:
    yield LocalCluster(settings, DRIVER)
    for path in settings.home.glob("runs/*"):
        folder = RunFolder(path)
        folder.cancel_request.touch()
        wait_until(lambda folder=folder: not folder.has_driver(), "the driver to go")


@pytest.fixture
def job():
    return parse_job(JOB, "tiny.yaml").job
