"""A writer killed at any moment leaves the old or the new, never neither, never a mix."""

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
    """Commit two files of a version; the same folder may have one before."""
    names = [f"{version}-{part}" for part in ("weights", "state")]
    files = {name: storage.put(f"{folder}/{name}", [name.encode() * 2000]) for name in names}
    commit(storage, folder, files, {"version": version})


def loaded(storage: FolderStorage) -> list[str]:
    """Read every committed folder wholly and name the versions that they hold."""
    versions = []
    for folder in committed(storage, "run"):
        manifest = read_manifest(storage, folder)
        version = manifest.facts["version"]
        assert sorted(manifest.files) == [f"{version}-state", f"{version}-weights"]
        for name in manifest.files:
            assert read_file(storage, folder, manifest, name) == name.encode() * 2000
        versions.append(version)
    return versions


def over_the_old(storage: FolderStorage) -> None:
    save(storage, "run/best", "new")


def beside_the_old(storage: FolderStorage) -> None:
    save(storage, "run/last", "new")


def away_with_the_old(storage: FolderStorage) -> None:
    remove(storage, "run/best")


@dataclass(frozen=True)
class Scene:
    """What a writer does to a storage that holds the old version, and how many steps it needs at least."""

    action: Callable[[FolderStorage], None]
    before: list[str]
    after: list[str]
    steps: int


OVER = Scene(over_the_old, ["old"], ["new"], steps=40)
BESIDE = Scene(beside_the_old, ["old"], ["old", "new"], steps=40)
AWAY = Scene(away_with_the_old, ["old"], [], steps=15)


def fresh(path: Path) -> FolderStorage:
    """Empty a folder and commit the old version there."""
    shutil.rmtree(path, ignore_errors=True)
    storage = FolderStorage(path)
    save(storage, "run/best", "old")
    return storage


def in_a_child(action: Callable[[], object]) -> int:
    """Fork; the child does this and nothing else."""
    pid = os.fork()
    if pid == 0:
        try:
            action()
            os._exit(0)
        finally:
            os._exit(1)
    return pid


def survives(pid: int) -> bool:
    """Wait for a child; whether it came to its end."""
    status = os.waitpid(pid, 0)[1]
    if os.WIFSIGNALED(status):
        assert os.WTERMSIG(status) == signal.SIGKILL
        return False
    assert os.WEXITSTATUS(status) == 0
    return True


def die_before_call(number: int) -> None:
    """Kill this process before its so-many-th call into the operating system's module or an open file."""
    calls = 0

    def count(_frame: object, event: str, called: Any) -> None:
        nonlocal calls
        owner = getattr(called, "__self__", None)
        if event == "c_call" and (owner is posix or isinstance(owner, io.IOBase)):
            calls += 1
            if calls == number:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.setprofile(count)


def outcomes(scene: Scene, path: Path, survives_kill: Callable[[FolderStorage, int], bool]) -> list[list[str]]:
    """Kill the writer at moment 1, 2, ... until it comes to its end, and see what is there each time."""
    seen: list[list[str]] = []
    finished = False
    while not finished:
        storage = fresh(path)
        finished = survives_kill(storage, len(seen) + 1)
        seen.append(loaded(storage))
        assert seen[-1] in (scene.before, scene.after), f"moment {len(seen)}"
    assert seen[-1] == scene.after
    return seen


@pytest.mark.parametrize("scene", [OVER, BESIDE, AWAY], ids=["over", "beside", "away"])
def test_killed_at_any_call(tmp_path: Path, scene: Scene) -> None:
    def survives_kill(storage: FolderStorage, moment: int) -> bool:
        return survives(in_a_child(lambda: (die_before_call(moment), scene.action(storage))))

    seen = outcomes(scene, tmp_path / "runs", survives_kill)

    assert seen[0] == scene.before
    assert len(seen) > scene.steps


@pytest.mark.parametrize("scene", [OVER, AWAY], ids=["over", "away"])
def test_killed_at_any_system_call(tmp_path: Path, scene: Scene) -> None:
    if not shutil.which("strace"):
        pytest.skip("strace is not on this machine")

    def traced(storage: FolderStorage, *options: str) -> bool:
        start, go = os.pipe()
        allow = ctypes.CDLL(None).prctl
        pid = in_a_child(lambda: (allow(PR_SET_PTRACER, ANYBODY), os.read(start, 1), scene.action(storage)))
        with attached(pid, *options):
            os.write(go, b"!")
            os.close(start)
            os.close(go)
            return survives(pid)

    log = tmp_path / "calls"
    assert traced(fresh(tmp_path / "runs"), "-o", str(log))
    seen: list[list[str]] = []
    for name in sorted(set(re.findall(r"^(\w+)\(", log.read_text(), re.MULTILINE))):
        # `when` counts the calls of each name by themselves
        killed = ["-o", "/dev/null", "-e", f"inject={name}:signal=KILL:when="]
        seen += outcomes(
            scene, tmp_path / "runs", lambda storage, moment, k=killed: traced(storage, *k[:-1], f"{k[-1]}{moment}")
        )

    assert scene.before in seen
    assert len(seen) > scene.steps


@contextmanager
def attached(pid: int, *options: str) -> Iterator[None]:
    """Have strace follow a process that waits; it misses no call of it."""
    strace = subprocess.Popen(["strace", "-p", str(pid), *options], stderr=subprocess.PIPE, text=True)
    assert strace.stderr
    said = strace.stderr.readline()
    if "attached" not in said:
        strace.communicate()
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        pytest.skip(f"strace may not look at processes here: {said}")
    try:
        yield
    finally:
        strace.communicate(timeout=DEADLINE_S)
