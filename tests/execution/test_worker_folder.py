"""The folder of a worker that shares no disk with its driver."""

import pytest

from stoker.execution.worker_folder import FolderReplica, folder_update, pack, unpack, write_files
from stoker.tracking.journal import Journal, read_journal
from stoker.tracking.run_folder import RunFolder


@pytest.fixture
def folders(tmp_path):
    """Create the folders of a driver and of a worker."""
    made = RunFolder(tmp_path / "driver"), RunFolder(tmp_path / "worker")
    for folder in made:
        folder.path.mkdir()
    return made


def write_epochs(folder, *epochs):
    journal = Journal(folder.journal)
    for epoch in epochs:
        journal.append(10 * epoch, epoch, {"loss/val": 1 / epoch})
    journal.close()


def epochs_of(folder):
    return [entry.epoch for entry, _ in read_journal(folder.journal)]


def test_a_replica_follows_the_journal_of_the_worker(folders):
    driver, worker = folders
    write_epochs(driver, 1, 2)
    write_files(worker.path, pack(driver))
    replica = FolderReplica(driver)
    write_epochs(worker, 3)
    worker.resolved.write_text("resolved")
    replica.apply(folder_update(worker, replica.journal_bytes))
    write_epochs(worker, 4)
    replica.apply(folder_update(worker, replica.journal_bytes))
    replica.close()
    assert driver.journal.read_bytes() == worker.journal.read_bytes()
    assert driver.resolved.read_text() == "resolved"


def test_entries_that_a_worker_repeats_are_skipped(folders):
    driver, worker = folders
    write_epochs(driver, 1, 2)
    write_epochs(worker, 1, 2, 3)
    replica = FolderReplica(driver)
    replica.apply(folder_update(worker, 0))
    replica.close()
    assert epochs_of(driver) == [1, 2, 3]


def test_an_incomplete_line_is_not_sent(folders):
    _, worker = folders
    write_epochs(worker, 1)
    whole = worker.journal.read_bytes()
    worker.journal.write_bytes(whole + b'{"half')
    assert folder_update(worker, 0).journal == whole
    assert folder_update(worker, len(whole)).journal == b""


def test_unpacking_replaces_what_an_earlier_attempt_left(folders, monkeypatch, tmp_path):
    driver, _ = folders
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    (driver.code / "own").mkdir(parents=True)
    (driver.code / "own" / "net.py").write_text("1")
    first = unpack(pack(driver), "run-1", "0")
    first.resolved.write_text("stale")
    (first.code / "stale.py").write_text("2")
    again = unpack(pack(driver), "run-1", "0")
    assert again.path == first.path
    assert not again.resolved.exists()
    assert [path.name for path in again.code.rglob("*.py")] == ["net.py"]


def test_pictures_are_sent_with_their_journal_lines(folders):
    driver, worker = folders
    write_epochs(driver, 1)
    write_files(worker.path, pack(driver))
    replica = FolderReplica(driver)
    worker.pictures.mkdir()
    for step in (10, 20):
        (worker.pictures / f"seen-{step}.png").write_bytes(b"%d" % step)
    journal = Journal(worker.journal)
    journal.append_picture(20, 2, "pictures/seen-20.png")
    journal.append_picture(30, 3, "pictures/lost.png")
    journal.close()
    update = folder_update(worker, replica.journal_bytes)
    assert update.pictures == {"pictures/seen-20.png": b"20"}
    replica.apply(update)
    replica.close()
    assert (driver.pictures / "seen-20.png").read_bytes() == b"20"
    assert driver.journal.read_bytes() == worker.journal.read_bytes()
    assert folder_update(worker, worker.journal.stat().st_size).pictures == {}
