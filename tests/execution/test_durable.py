"""What outlives a run's folder, and comes back to a new one."""

import pytest

from stoker.errors import NotFound
from stoker.execution.durable import PART_BYTES, Durable
from stoker.storage import FolderStorage
from stoker.tracking.ledger import Ledger, read_trials
from stoker.tracking.run import RunStatus, State
from stoker.tracking.run_folder import RunFolder


@pytest.fixture
def storage(tmp_path):
    return FolderStorage(tmp_path / "storage")


@pytest.fixture
def folder(tmp_path):
    """Make an empty folder of a run."""

    def make(name):
        made = RunFolder(tmp_path / name)
        made.path.mkdir()
        made.write_status(RunStatus(State.RUNNING))
        return made

    return make


def test_a_ledger_grows_in_parts_and_comes_back_whole(storage, folder):
    first = folder("first")
    durable, ledger = Durable(first, storage), Ledger(first.ledger)
    for number in range(10):
        ledger.begin(number, {"long": "x" * (PART_BYTES // 4)}, {})
        assert durable.secure()
    assert len(storage.keys("ledger")) == 3

    second = folder("second")
    after = Durable(second, storage)
    after.recall()
    assert second.ledger.read_bytes() == first.ledger.read_bytes()
    ledger = Ledger(second.ledger)
    ledger.end(3, State.PRUNED, {})
    assert after.secure()
    third = folder("third")
    Durable(third, storage).recall()
    assert [trial.state for trial in read_trials(third.ledger)].count(State.PRUNED) == 1


def test_half_a_line_is_not_kept(storage, folder):
    first = folder("first")
    first.ledger.write_text('{"whole": 1}\n{"half')
    assert Durable(first, storage).secure()
    assert b"".join(storage.get(key) for key in storage.keys("ledger")) == b'{"whole": 1}\n'


def test_the_trials_that_extend_has_added_come_back(storage, folder):
    first = folder("first")
    first.write_more_trials(7)
    durable = Durable(first, storage)
    durable.start()
    assert durable.close()
    second = folder("second")
    assert Durable(second, storage).recall().state is State.RUNNING
    assert second.more_trials() == 7


def test_a_run_of_its_own_has_no_ledger_to_keep(storage, folder):
    assert Durable(folder("first"), storage).secure()
    assert storage.keys("") == []
    with pytest.raises(NotFound):
        storage.get("ledger")
