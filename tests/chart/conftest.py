"""Helm, and the chart rendered by it."""

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

CHART = Path(__file__).parents[2] / "helm" / "stoker"


@pytest.fixture(scope="session")
def helm() -> str:
    """Find Helm: the variable HELM, or the PATH."""
    found = os.environ.get("HELM") or shutil.which("helm")
    if not found:
        pytest.skip("there is no helm on this machine")
    return found


@pytest.fixture(scope="session")
def chart(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Copy the chart without its dependency, which is fetched where there is a network."""
    folder = tmp_path_factory.mktemp("chart") / "stoker"
    shutil.copytree(CHART, folder)
    description = (folder / "Chart.yaml").read_text()
    (folder / "Chart.yaml").write_text(description[: description.index("dependencies:")])
    return folder


@pytest.fixture
def render(helm: str, chart: Path, tmp_path: Path) -> Callable[..., list[Any]]:
    """Render the chart with values; return its objects."""

    def objects(values: Any = None, *apis: str, file: Path | None = None) -> list[Any]:
        path = tmp_path / "values.yaml"
        path.write_text(yaml.safe_dump(values or {}))
        served = [option for api in apis for option in ("--api-versions", api)]
        command = [helm, "template", "team", str(chart), "--namespace", "ml", "--values", str(file or path), *served]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            raise ValueError(done.stderr)
        return [each for each in yaml.safe_load_all(done.stdout) if each]

    return objects
