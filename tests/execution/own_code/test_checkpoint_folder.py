"""What a script writes to its checkpoint folder is found again by the next attempt, on whatever node it runs."""

import pytest

from stoker.execution.own_code.checkpoint_folder import CheckpointFolder
from stoker.storage import open_storage


@pytest.fixture
def storage(tmp_path):
    return open_storage(str(tmp_path / "storage"))


def test_files_reach_the_storage_and_the_next_node(tmp_path, storage):
    first = CheckpointFolder(tmp_path / "a" / "script", storage, counts=True)
    first.open()
    (first.folder / "deep").mkdir()
    (first.folder / "deep" / "state.pt").write_bytes(b"one" * 1000)
    (first.folder / "empty").touch()
    first.sync()
    (first.folder / "old").write_text("old")
    first.sync()
    (first.folder / "old").unlink()
    (first.folder / "deep" / "state.pt").write_bytes(b"two")
    first.close()
    again = CheckpointFolder(tmp_path / "b" / "script", storage, counts=True)
    again.open()
    found = {path.relative_to(again.folder).as_posix() for path in again.folder.rglob("*") if path.is_file()}
    assert found == {"deep/state.pt", "empty"}
    assert (again.folder / "deep" / "state.pt").read_bytes() == b"two"
    assert again.saves == 3
    again.close()


def test_workers_add_to_each_others_files(tmp_path, storage):
    workers = [CheckpointFolder(tmp_path / str(rank) / "script", storage, counts=rank == 0) for rank in (0, 1)]
    for rank, worker in enumerate(workers):
        worker.open()
        (worker.folder / f"shard-{rank}").write_text(str(rank))
    for worker in workers:
        worker.close()
    assert storage.keys("script") == ["script/shard-0", "script/shard-1"]
    assert [worker.saves for worker in workers] == [1, 0]


def test_changes_are_counted_on_from_earlier_attempts_where_the_folder_survives(tmp_path):
    for expected in (1, 2):
        folder = CheckpointFolder(tmp_path / "script", None, counts=True)
        folder.open()
        (folder.folder / "state").write_text(str(expected))
        folder.close()
        assert folder.saves == expected
    untouched = CheckpointFolder(tmp_path / "script", None, counts=True)
    untouched.open()
    untouched.close()
    assert untouched.saves == 2
