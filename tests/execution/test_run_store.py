"""Files that are stored outside of a run's folder, and restored to a new one."""

import pytest

from stoker.errors import NotFound
from stoker.execution.run_store import LEDGER_PART_BYTES, PIECE_BYTES, RunStore, journal_key, with_saved_results
from stoker.execution.worker_result import WorkerResult
from stoker.storage import FolderStorage
from stoker.tracking.journal import Journal
from stoker.tracking.ledger import Ledger, read_trials
from stoker.tracking.run import RunStatus, State
from stoker.tracking.run_folder import RunFolder


@pytest.fixture
def storage(tmp_path):
    return FolderStorage(tmp_path / "storage")


@pytest.fixture
def folder(tmp_path):
    """Create an empty folder of a run."""

    def make(name):
        made = RunFolder(tmp_path / name)
        made.path.mkdir()
        made.write_status(RunStatus(State.RUNNING))
        return made

    return make


def test_a_ledger_is_stored_in_parts_and_restored_whole(storage, folder):
    first = folder("first")
    store, ledger = RunStore(first, storage), Ledger(first.ledger)
    for number in range(10):
        ledger.begin(number, {"long": "x" * (LEDGER_PART_BYTES // 4)}, {})
        assert store.save_ledger()
    assert len(storage.keys("ledger")) == 3

    second = folder("second")
    after = RunStore(second, storage)
    after.restore()
    assert second.ledger.read_bytes() == first.ledger.read_bytes()
    ledger = Ledger(second.ledger)
    ledger.end(3, State.PRUNED, {})
    assert after.save_ledger()
    third = folder("third")
    RunStore(third, storage).restore()
    assert [trial.state for trial in read_trials(third.ledger)].count(State.PRUNED) == 1


def test_an_incomplete_line_is_not_stored(storage, folder):
    first = folder("first")
    first.ledger.write_text('{"whole": 1}\n{"half')
    assert RunStore(first, storage).save_ledger()
    assert b"".join(storage.get(key) for key in storage.keys("ledger")) == b'{"whole": 1}\n'


def test_the_trials_added_by_extend_are_restored(storage, folder):
    first = folder("first")
    first.write_more_trials(7)
    store = RunStore(first, storage)
    store.start()
    assert store.close()
    second = folder("second")
    assert RunStore(second, storage).restore().state is State.RUNNING
    assert second.more_trials() == 7


def test_a_single_run_has_no_ledger_to_store(storage, folder):
    assert RunStore(folder("first"), storage).save_ledger()
    assert storage.keys("") == []
    with pytest.raises(NotFound):
        storage.get("ledger")


def test_results_are_stored_in_pieces_and_fetched_unchanged(tmp_path):
    there, home = RunFolder(tmp_path / "there"), RunFolder(tmp_path / "home")
    contents = {
        "model/weights": bytes(range(256)) * (PIECE_BYTES // 100),
        "model/code/own.py": b"",
        "artifacts/a.png": b"x" * PIECE_BYTES,
    }
    for name, content in contents.items():
        (there.path / name).parent.mkdir(parents=True, exist_ok=True)
        (there.path / name).write_bytes(content)
    storage = FolderStorage(tmp_path / "storage")
    storage.put("results/model/stale/000000000000000", [b"of an earlier attempt"])
    RunStore(there, storage).save_results()
    assert max(len(storage.get(key)) for key in storage.keys("")) == PIECE_BYTES
    RunStore(home, storage).fetch_results()
    found = {str(path.relative_to(home.path)): path.read_bytes() for path in home.path.rglob("*") if path.is_file()}
    assert found == contents


def test_a_storage_that_refuses_the_model_fails_the_attempt(storage, folder, tmp_path):
    first = folder("first")
    first.model.mkdir()
    (first.model / "weights").write_bytes(b"w")
    (tmp_path / "storage").write_text("a file where the storage's folder should be")
    result = with_saved_results(WorkerResult("succeeded", step=3), RunStore(first, storage))
    assert (result.outcome, result.step) == ("failed", 3)
    assert "the model cannot be stored" in result.message
    stopped = WorkerResult("stopped")
    assert with_saved_results(stopped, RunStore(first, storage)) is stopped


def test_the_pictures_of_a_stored_journal_are_restored_with_it(storage, folder):
    first = folder("first")
    journal = Journal(first.journal)
    journal.append_picture(10, 1, "pictures/seen-10.png")
    journal.append_picture(20, 2, "pictures/lost.png")
    journal.close()
    storage.put(journal_key(1), [first.journal.read_bytes()])
    storage.put("pictures/seen-10.png", [b"png"])
    second = folder("second")
    RunStore(second, storage).restore_journal()
    assert second.journal.read_bytes() == first.journal.read_bytes()
    assert (second.pictures / "seen-10.png").read_bytes() == b"png"
    assert not (second.pictures / "lost.png").exists()
