"""A writer killed at any moment leaves the old or the new version, never none and never a mix."""

import ctypes
import io
import os
import posix
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from stoker.storage import FolderStorage, commit, committed, read_file, read_manifest, remove

DEADLINE_S = 20.0
ANYBODY = -1
PR_SET_PTRACER = 0x59616D61


def save(storage: FolderStorage, folder: str, version: str) -> None:
    """Commit two files of a version to a folder that may already have another version."""
    names = [f"{version}-{part}" for part in ("weights", "state")]
    files = {name: storage.put(f"{folder}/{name}", [name.encode() * 2000]) for name in names}
    commit(storage, folder, files, {"version": version})


def loaded(storage: FolderStorage) -> list[str]:
    """Read all committed folders completely and return their versions."""
    versions = []
    for folder in committed(storage, "run"):
        manifest = read_manifest(storage, folder)
        version = manifest.facts["version"]
        assert sorted(manifest.files) == [f"{version}-state", f"{version}-weights"]
        for name in manifest.files:
            assert read_file(storage, folder, manifest, name) == name.encode() * 2000
        versions.append(version)
    return versions


def replace_old(storage: FolderStorage) -> None:
    save(storage, "run/best", "new")


def add_beside_old(storage: FolderStorage) -> None:
    save(storage, "run/last", "new")


def remove_old(storage: FolderStorage) -> None:
    remove(storage, "run/best")


@dataclass(frozen=True)
class Scenario:
    """An action of a writer on a storage with the old version, and the minimum number of its steps."""

    action: Callable[[FolderStorage], None]
    before: list[str]
    after: list[str]
    steps: int


REPLACE = Scenario(replace_old, ["old"], ["new"], steps=40)
ADD = Scenario(add_beside_old, ["old"], ["old", "new"], steps=40)
REMOVE = Scenario(remove_old, ["old"], [], steps=15)


def fresh(path: Path) -> FolderStorage:
    """Return a storage that has only the old version."""
    shutil.rmtree(path, ignore_errors=True)
    storage = FolderStorage(path)
    save(storage, "run/best", "old")
    return storage


def in_a_child(action: Callable[[], object]) -> int:
    """Run an action in a forked process and return its id."""
    pid = os.fork()
    if pid == 0:
        try:
            action()
            os._exit(0)
        finally:
            os._exit(1)
    return pid


def survives(pid: int) -> bool:
    """Wait for a child and return whether it ended by itself."""
    status = os.waitpid(pid, 0)[1]
    if os.WIFSIGNALED(status):
        assert os.WTERMSIG(status) == signal.SIGKILL
        return False
    assert os.WEXITSTATUS(status) == 0
    return True


def die_before_call(number: int) -> None:
    """Kill this process before its n-th call of a function of the `posix` module or of an open file."""
    calls = 0

    def count(_frame: object, event: str, called: Any) -> None:
        nonlocal calls
        owner = getattr(called, "__self__", None)
        if event == "c_call" and (owner is posix or isinstance(owner, io.IOBase)):
            calls += 1
            if calls == number:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.setprofile(count)


def outcomes(scenario: Scenario, path: Path, survives_kill: Callable[[FolderStorage, int], bool]) -> list[list[str]]:
    """Kill the writer at moment 1, 2, ... until it ends by itself; return the versions after each kill."""
    found: list[list[str]] = []
    finished = False
    while not finished:
        storage = fresh(path)
        finished = survives_kill(storage, len(found) + 1)
        found.append(loaded(storage))
        assert found[-1] in (scenario.before, scenario.after), f"moment {len(found)}"
    assert found[-1] == scenario.after
    return found


@pytest.mark.parametrize(
    "scenario",
    [pytest.param(REPLACE, marks=pytest.mark.slow), ADD, REMOVE],  # replacing is killed at system calls, too
    ids=["replace", "add", "remove"],
)
def test_a_writer_may_be_killed_at_any_call(tmp_path: Path, scenario: Scenario) -> None:
    def survives_kill(storage: FolderStorage, moment: int) -> bool:
        return survives(in_a_child(lambda: (die_before_call(moment), scenario.action(storage))))

    found = outcomes(scenario, tmp_path / "runs", survives_kill)

    assert found[0] == scenario.before
    assert len(found) > scenario.steps


@pytest.mark.slow
@pytest.mark.parametrize("scenario", [REPLACE, REMOVE], ids=["replace", "remove"])
def test_a_writer_may_be_killed_at_any_system_call(tmp_path: Path, scenario: Scenario) -> None:
    if not shutil.which("strace"):
        pytest.skip("strace is not installed")

    def traced(storage: FolderStorage, *options: str) -> bool:
        start, go = os.pipe()
        allow = ctypes.CDLL(None).prctl
        pid = in_a_child(lambda: (allow(PR_SET_PTRACER, ANYBODY), os.read(start, 1), scenario.action(storage)))
        with attached(pid, *options):
            os.write(go, b"!")
            os.close(start)
            os.close(go)
            return survives(pid)

    log = tmp_path / "calls"
    assert traced(fresh(tmp_path / "runs"), "-o", str(log))
    found: list[list[str]] = []
    for name in sorted(set(re.findall(r"^(\w+)\(", log.read_text(), re.MULTILINE))):
        # `when` counts the calls of each name separately
        killed = ["-o", "/dev/null", "-e", f"inject={name}:signal=KILL:when="]
        found += outcomes(
            scenario, tmp_path / "runs", lambda storage, moment, k=killed: traced(storage, *k[:-1], f"{k[-1]}{moment}")
        )

    assert scenario.before in found
    assert len(found) > scenario.steps


@contextmanager
def attached(pid: int, *options: str) -> Iterator[None]:
    """Attach strace to a waiting process, so that it sees all of its calls."""
    strace = subprocess.Popen(["strace", "-p", str(pid), *options], stderr=subprocess.PIPE, text=True)
    assert strace.stderr
    line = strace.stderr.readline()
    if "attached" not in line:
        strace.communicate()
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        pytest.skip(f"strace is not permitted to attach to processes here: {line}")
    try:
        yield
    finally:
        strace.communicate(timeout=DEADLINE_S)
