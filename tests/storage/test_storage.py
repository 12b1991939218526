"""The contract of all storages, and the URLs that open them."""

import hashlib
from abc import ABC, abstractmethod
from array import array
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from stoker.errors import ClusterError, Damaged, NotFound
from stoker.storage import (
    MANIFEST,
    Digest,
    FolderStorage,
    Storage,
    commit,
    committed,
    open_storage,
    read_file,
    read_manifest,
    remove,
)
from stoker.storage.objects import PIECE_BYTES


class StorageContract(ABC):
    @pytest.fixture
    @abstractmethod
    def storage(self) -> Storage:
        """The storage to be tested, empty."""

    def test_returns_what_was_put(self, storage: Storage) -> None:
        digest = storage.put("run/weights", [b"one", memoryview(b"-two-")[1:4], b""])

        assert storage.get("run/weights") == b"onetwo"
        assert digest == Digest(6, hashlib.sha256(b"onetwo").hexdigest())

    def test_stores_views_of_numbers_byte_for_byte(self, storage: Storage) -> None:
        numbers = array("d", range(PIECE_BYTES // 8 + 3))  # more than one piece, the last one partial

        digest = storage.put("numbers", [memoryview(numbers), memoryview(array("d"))])

        assert storage.get("numbers") == numbers.tobytes()
        assert digest == Digest(8 * len(numbers), hashlib.sha256(numbers.tobytes()).hexdigest())

    def test_an_object_may_be_empty(self, storage: Storage) -> None:
        assert storage.put("empty", []) == Digest(0, hashlib.sha256(b"").hexdigest())
        assert storage.get("empty") == b""

    def test_a_second_put_replaces_the_first(self, storage: Storage) -> None:
        storage.put("key", [b"a longer first"])
        storage.put("key", [b"second"])

        assert storage.get("key") == b"second"
        assert storage.keys("") == ["key"]

    def test_a_missing_object_is_not_found(self, storage: Storage) -> None:
        storage.put("run/file", [b"x"])

        for absent in ("nothing", "run", "run/file/below", "run/nothing"):
            with pytest.raises(NotFound, match=absent):
                storage.get(absent)

    def test_objects_are_copied_to_files(self, storage: Storage, tmp_path: Path) -> None:
        storage.put("run/deep/file", [b"x" * 10])
        storage.put("run/empty", [])
        storage.put("runner", [b"y"])

        assert storage.download_folder("run", tmp_path / "copy") == 2
        assert storage.download_folder("missing", tmp_path / "copy") == 0
        found = {
            path.relative_to(tmp_path / "copy").as_posix() for path in (tmp_path / "copy").rglob("*") if path.is_file()
        }
        assert found == {"deep/file", "empty"}
        assert (tmp_path / "copy" / "deep" / "file").read_bytes() == b"x" * 10
        with pytest.raises(NotFound):
            storage.download("run/other", tmp_path / "other")

    def test_lists_the_keys_below_a_folder(self, storage: Storage) -> None:
        for key in ("runs/b/2", "runs/b/10", "runs/a", "runs-too/c", "other"):
            storage.put(key, [b"x"])

        assert storage.keys("runs") == ["runs/a", "runs/b/10", "runs/b/2"]
        assert storage.keys("runs/b") == ["runs/b/10", "runs/b/2"]
        assert storage.keys("") == ["other", "runs-too/c", "runs/a", "runs/b/10", "runs/b/2"]
        assert storage.keys("nothing") == []

    def test_deletes_existing_objects_and_ignores_missing_ones(self, storage: Storage) -> None:
        storage.put("runs/a", [b"x"])
        storage.put("runs/b", [b"x"])

        storage.delete(["runs/nothing", "nothing/at/all", "runs/a"])

        assert storage.keys("") == ["runs/b"]

    def test_clears_one_folder(self, storage: Storage) -> None:
        for key in ("runs/1/a", "runs/1/b/c", "runs/10/a"):
            storage.put(key, [b"x"])

        storage.clear("runs/1")
        storage.clear("nothing")

        assert storage.keys("") == ["runs/10/a"]

    def test_a_key_cannot_leave_the_storage(self, storage: Storage) -> None:
        for key in ("../beside", "/absolute", "a//b", "a/./b", ""):
            with pytest.raises(AssertionError):
                storage.put(key, [b"x"])

    def test_a_folder_is_committed_until_it_is_removed(self, storage: Storage) -> None:
        files = {
            "rank-0": storage.put("run/1/rank-0", [b"zero"]),
            "sub/rank-1": storage.put("run/1/sub/rank-1", [b"one"]),
        }
        assert committed(storage, "run") == []

        commit(storage, "run/1", files, {"step": 7})
        manifest = read_manifest(storage, "run/1")

        assert committed(storage, "run") == committed(storage, "") == ["run/1"]
        assert committed(storage, "run/1") == []
        assert (manifest.facts, manifest.files) == ({"step": 7}, files)
        assert read_file(storage, "run/1", manifest, "sub/rank-1") == b"one"
        remove(storage, "run/1")
        remove(storage, "run/1")
        assert storage.keys("") == []

    def test_a_file_missing_from_a_committed_folder_is_damage(self, storage: Storage) -> None:
        commit(storage, "run/1", {"rank-0": storage.put("run/1/rank-0", [b"zero"])}, {})
        manifest = read_manifest(storage, "run/1")

        with pytest.raises(NotFound, match="rank-5"):
            read_file(storage, "run/1", manifest, "rank-5")
        storage.delete(["run/1/rank-0"])
        with pytest.raises(Damaged, match="rank-0 is missing"):
            read_file(storage, "run/1", manifest, "rank-0")
        storage.delete([f"run/1/{MANIFEST}"])
        with pytest.raises(Damaged, match=f"{MANIFEST} is missing"):
            read_manifest(storage, "run/1")


class TestFolder(StorageContract):
    @pytest.fixture
    def storage(self, tmp_path: Path) -> Storage:
        return FolderStorage(tmp_path / "not" / "yet")


class TestBucket(StorageContract):
    @pytest.fixture
    def storage(self, s3: Any, bucket_storage: Callable[[str], Storage]) -> Storage:
        return bucket_storage("team/a")


class TestWholeBucket(StorageContract):
    @pytest.fixture
    def storage(self, s3: Any, bucket_storage: Callable[[str], Storage]) -> Storage:
        return bucket_storage("")


def test_a_url_opens_a_folder_or_a_bucket(tmp_path: Path, s3: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))

    assert open_storage("runs").url("a") == str(tmp_path / "runs/a")
    assert open_storage("~/runs").url("a") == str(tmp_path / "home/runs/a")
    assert open_storage("file:///data/my%20runs").url("a") == "/data/my runs/a"
    assert open_storage("s3://models/team/a/").url("b") == "s3://models/team/a/b"
    assert open_storage("s3://models").url("b") == "s3://models/b"


@pytest.mark.parametrize("url", ["gs://models/a", "s3://", "s3:///a", "file://host/a", "http://models"])
def test_other_urls_are_refused(url: str) -> None:
    with pytest.raises(ClusterError, match=r"write s3://BUCKET/PREFIX, file:///FOLDER or a path"):
        open_storage(url)
