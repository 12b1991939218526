"""A folder's guarantees for full disks, killed writers and power cuts."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from stoker.errors import Cause, StorageError
from stoker.storage import FolderStorage, commit, committed, remove
from stoker.storage.folder import PARTIAL

ON_A_SMALL_DISK = """
import sys
from pathlib import Path
from subprocess import run
from stoker.errors import StorageError
from stoker.storage import FolderStorage

disk = Path(sys.argv[1])
storage = FolderStorage(disk)
storage.put("run/file", [b"old"])
try:
    storage.put("run/file", [bytes(1 << 20)] * 4)
except StorageError as error:
    print(error.cause, error)
print(storage.get("run/file"), [path.name for path in (disk / "run").iterdir()])
storage.put("run/other", [bytes(1 << 20)])
run(["mount", "-o", "remount,ro", disk], check=True)
try:
    storage.put("run/file", [b"new"])
except StorageError as error:
    print(error.cause, error)
print(storage.get("run/file"))
"""


def system_calls(action: Any) -> list[str]:
    """Run an action and return its calls that change files."""
    calls: list[str] = []

    def note(_frame: object, event: str, called: Any) -> None:
        if event == "c_call" and called.__name__ in ("write", "fsync", "replace", "unlink", "mkdir"):
            calls.append(called.__name__)

    sys.setprofile(note)
    try:
        action()
    finally:
        sys.setprofile(None)
    return calls


def test_put_syncs_the_file_before_the_rename_and_the_folder_after_it(tmp_path: Path) -> None:
    storage = FolderStorage(tmp_path)

    calls = system_calls(lambda: storage.put("a/b/file", [b"content"]))

    folders = ["mkdir", "fsync"] * 2
    assert calls == [*folders, "write", "fsync", "replace", "fsync"]


def test_each_deletion_is_synced_before_the_next(tmp_path: Path) -> None:
    storage = FolderStorage(tmp_path)
    storage.put("a", [b"x"])
    storage.put("b", [b"x"])

    assert system_calls(lambda: storage.delete(["a", "b"])) == ["unlink", "fsync"] * 2


def test_a_full_or_read_only_disk_is_reported_and_keeps_the_old_object(tmp_path: Path) -> None:
    mounted = 'mount -t tmpfs -o size=3m none "$0" && exec "$@"'
    command = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", mounted, str(tmp_path)]
    if subprocess.run([*command, "true"], capture_output=True, check=False).returncode:
        pytest.skip("this machine does not permit mounting a small disk")

    child = [*command, sys.executable, "-c", ON_A_SMALL_DISK, str(tmp_path)]
    output = subprocess.run(child, capture_output=True, text=True, check=True).stdout.splitlines()

    file = tmp_path / "run/file"
    assert output[0] == f"DISK_FULL {file}: No space left on device; free space on its disk"
    assert output[1] == "b'old' ['file']"
    assert output[2].startswith(f"STORAGE_AUTH {file}: Read-only file system; allow this user to read and write there")
    assert output[3] == "b'old'"


def test_a_file_in_place_of_a_folder_is_an_infrastructure_failure(tmp_path: Path) -> None:
    storage = FolderStorage(tmp_path)
    storage.put("run", [b"a file"])

    with pytest.raises(StorageError, match="run/file") as caught:
        storage.put("run/file", [b"x"])
    assert caught.value.cause is Cause.INFRASTRUCTURE


def test_an_unfinished_write_is_not_an_object_and_is_removed_with_its_folder(tmp_path: Path) -> None:
    storage = FolderStorage(tmp_path)
    commit(storage, "run/1", {"file": storage.put("run/1/file", [b"x"])}, {})
    (tmp_path / f"run/1/.0123{PARTIAL}").write_bytes(b"half")

    assert storage.keys("") == ["run/1/file", "run/1/manifest.json"]
    assert committed(storage, "run") == ["run/1"]
    remove(storage, "run/1")
    assert list((tmp_path / "run").iterdir()) == []


def test_a_failed_write_leaves_no_file(tmp_path: Path) -> None:
    storage = FolderStorage(tmp_path)

    with pytest.raises(TypeError):
        storage.put("file", [b"good", memoryview(b"every other byte")[::2]])
    assert list(tmp_path.iterdir()) == []
