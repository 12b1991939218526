"""Writing checkpoints during training, with several workers and failing storage."""

import threading
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from stoker.errors import Cause, StorageError
from stoker.storage import FolderStorage, committed
from stoker.training.assembly import assemble
from stoker.training.attempt import attempt
from stoker.training.checkpoint import Checkpoints
from stoker.training.events import EpochEnd, StepEnd, TrainingEnd
from stoker.training.loop import start, train
from stoker.training.parallel import Workers
from stoker.training.preparation import prepare

pytestmark = pytest.mark.usefixtures("one_thread")


class Counting(FolderStorage):
    """Counts how often each key is put."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.puts: Counter[str] = Counter()

    def put(self, key: str, chunks: Any) -> Any:
        self.puts[key] += 1
        return super().put(key, chunks)


class Waiting(FolderStorage):
    """Blocks the first weights until the test allows them."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.allowed = threading.Event()

    def put(self, key: str, chunks: Any) -> Any:
        if key.endswith(".safetensors"):
            assert self.allowed.wait(30)
        return super().put(key, chunks)


class Refusing(FolderStorage):
    """Raises DISK_FULL for weights."""

    def put(self, key: str, chunks: Any) -> Any:
        if key.endswith(".safetensors"):
            raise StorageError(Cause.INFRASTRUCTURE, "it is not well")
        return super().put(key, chunks)


@pytest.fixture
def iris(make_job):
    """Prepare a job of nine steps, with checkpoints at this interval."""

    def make(every: str, epochs: int = 3) -> Any:
        training = {"batch_size": 50, "epochs": epochs, "precision": "fp32", "checkpoint": {"every": every}}
        return prepare(make_job("tabular-classification", "iris", training=training))

    return make


@pytest.mark.parametrize("every", ["3 steps", "9 steps", "1 step", "0.001 s", "50%", "1 epoch"])
def test_no_file_of_a_manifest_is_written_again(iris, tmp_path, every):
    storage = Counting(tmp_path)
    events = list(attempt("r", start(assemble(iris(every))), Checkpoints(storage, "", 1, 1), 1, lambda: ""))
    assert isinstance(events[-1], TrainingEnd)
    assert storage.puts
    assert set(storage.puts.values()) == {1}


def test_a_checkpoint_holds_the_state_at_its_start_even_if_writing_is_slow(iris, tmp_path):
    prepared, storage = iris("2 epochs"), Waiting(tmp_path)
    state, checkpoints = start(assemble(prepared)), Checkpoints(storage, "", 2, 1)
    undisturbed: dict[str, float] = {}
    for event in train("r", state):
        if isinstance(event, StepEnd) and event.step == 2:
            checkpoints.save(state)
        if isinstance(event, EpochEnd):
            undisturbed = event.metrics
            break
    storage.allowed.set()
    checkpoints.finish()
    again = start(assemble(prepared))
    restored = Checkpoints(storage, "", 2, 2).restore(again)
    assert restored is not None
    assert restored.step == 2
    assert next(event for event in train("r", again) if isinstance(event, EpochEnd)).metrics == undisturbed


def test_no_worker_waits_for_one_whose_storage_fails_and_training_continues(iris, tmp_path, in_workers):
    prepared = iris("1 epoch")

    def work(workers: Workers) -> Any:
        storage = (Refusing if workers.rank == 1 else FolderStorage)(tmp_path)
        checkpoints = Checkpoints(storage, "", 2, 1)
        return type(list(attempt("r", start(assemble(prepared, workers)), checkpoints, 1, lambda: ""))[-1])

    assert in_workers(2, work) == [TrainingEnd, TrainingEnd]  # within the two minutes of `in_workers`
    assert committed(FolderStorage(tmp_path), "") == []


def test_an_abandoned_checkpoint_does_not_wait_for_peers(iris, tmp_path, in_workers):
    prepared = iris("1 epoch")

    def work(workers: Workers) -> bool:
        state = start(assemble(prepared, workers))
        next(train("r", state))
        if workers.rank == 0:
            checkpoints = Checkpoints(FolderStorage(tmp_path), "", 2, 1)
            checkpoints.save(state)
            checkpoints.abandon()
            checkpoints.finish()
            return checkpoints.busy
        return False

    assert in_workers(2, work) == [False, False]
    assert committed(FolderStorage(tmp_path), "") == []


def test_if_every_checkpoint_is_damaged_it_is_reported_and_training_starts_anew(iris, tmp_path):
    storage = FolderStorage(tmp_path)
    list(attempt("r", start(assemble(iris("1 epoch"))), Checkpoints(storage, "", 2, 1), 1, lambda: ""))
    for file in tmp_path.rglob("rank-0.safetensors"):
        file.write_bytes(b"")
    state = start(assemble(iris("1 epoch")))
    restored = Checkpoints(storage, "", 2, 2).restore(state)
    assert restored is not None
    assert (restored.step, state.step, len(restored.damaged)) == (0, 0, len(list(tmp_path.glob("step-*"))))
