"""Packages of a job, as pip installs them beside those of an image."""

import os
import subprocess
import sys
import zipfile

import pytest

from stoker.execution.packages import ERROR, installation_failure

NO_INDEX = """runtime_env setup failed: Failed to set up runtime environment.
[Node 10.244.0.28] Traceback (most recent call last):
    WARNING: Retrying (Retry(total=0, connect=None, read=None, redirect=None, status=None)) after connection broken by \
'NewConnectionError('<pip._vendor.urllib3.connection.HTTPSConnection object at 0x7f851ce5a8d0>: Failed to establish a \
new connection: [Errno -2] Name or service not known')': /simple/einops/
    ERROR: Could not find a version that satisfies the requirement einops (from versions: none)
    ERROR: No matching distribution found for einops
"""


@pytest.mark.parametrize(
    ("message", "words"),
    [
        (NO_INDEX, "its nodes cannot reach the Python package index (Name or service not known); name an image"),
        (NO_INDEX.replace("connection broken", "a while"), "No matching distribution found for einops"),
        ("no such file", "no such file"),
        ("", ""),
    ],
)
def test_the_reason_is_taken_from_the_output_of_pip(message, words):
    assert installation_failure(message).startswith(words)


@pytest.fixture
def wheel(tmp_path):
    """A package that needs one that is installed here."""
    path = tmp_path / "tiny_thing-1.0-py3-none-any.whl"
    about = "Metadata-Version: 2.1\nName: tiny-thing\nVersion: 1.0\nRequires-Dist: numpy\n"
    kind = "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("tiny_thing.py", "import numpy\nVALUE = 7\n")
        file.writestr("tiny_thing-1.0.dist-info/METADATA", about)
        file.writestr("tiny_thing-1.0.dist-info/WHEEL", kind)
        file.writestr("tiny_thing-1.0.dist-info/RECORD", "")
    return path


def run(folder, *names):
    nowhere = {"PIP_INDEX_URL": "http://127.0.0.1:9/simple", "PIP_RETRIES": "1"}
    subprocess.run(
        [sys.executable, "-m", "stoker.execution.packages", str(folder), *names],
        env={**os.environ, **nowhere},
        check=True,
        capture_output=True,
    )


def test_only_what_is_not_installed_is_added_and_python_finds_it(tmp_path, wheel):
    folder = tmp_path / "packages"
    run(folder, str(wheel))
    run(folder, str(wheel))  # Kubernetes may do it again
    assert not (folder / ERROR).exists()
    assert not list(folder.rglob("numpy"))
    done = subprocess.run(
        [sys.executable, "-c", "import tiny_thing; print(tiny_thing.VALUE)"],
        env={**os.environ, "PYTHONPATH": str(folder / "site")},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "7\n"


def test_a_failure_is_left_for_the_driver(tmp_path):
    folder = tmp_path / "packages"
    run(folder, "no-such-package")
    assert (
        (folder / ERROR).read_text().startswith("its nodes cannot reach the Python package index (Connection refused)")
    )
