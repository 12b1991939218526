"""Training that continues from the end of another run, with other settings, or is refused."""

from typing import Any

import pytest

from stoker.errors import Cause, TrainingFailed
from stoker.storage import open_storage
from stoker.training.assembly import assemble
from stoker.training.attempt import attempt
from stoker.training.checkpoint import Checkpoints
from stoker.training.events import EpochEnd, TrainingEnd
from stoker.training.loop import start, train
from stoker.training.preparation import prepare
from stoker.training.state import TrainingState

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def begun(make_job):
    """Start a small job, with these settings of its training and network."""

    def begin(hidden: int = 8, **training: Any) -> TrainingState:
        settings = {"batch_size": 50, "epochs": 3, "precision": "fp32", **training}
        network = {"family": "mlp", "hidden": [hidden]}
        return start(
            assemble(prepare(make_job("tabular-classification", "iris", architecture=network, training=settings)))
        )

    return begin


@pytest.fixture
def finished(begun, tmp_path):
    """Train a run to its end; return its checkpoints as another run opens them."""
    list(attempt("r", begun(), Checkpoints(open_storage(str(tmp_path)), "", 2, 1), 1, lambda: ""))
    return Checkpoints(open_storage(str(tmp_path)), "", 2, 1)


def test_another_metric_has_its_own_best_value(begun, finished):
    state = begun(checkpoint={"best": "loss/train"}, early_stopping={"metric": "loss/train", "patience": 3})
    finished.continue_from(state)
    events = list(train("s", state))
    assert next(event for event in events if isinstance(event, EpochEnd)).improved
    assert isinstance(events[-1], TrainingEnd)
    assert events[-1].best_epoch > 0


@pytest.mark.parametrize("optimizer", ["sgd", "adam", "muon"])
def test_another_optimizer_starts_with_a_new_state(begun, finished, optimizer):
    state = begun(optimizer=optimizer)
    finished.continue_from(state)
    assert isinstance(list(train("s", state))[-1], TrainingEnd)


def test_another_network_is_refused(begun, finished):
    with pytest.raises(TrainingFailed, match="another network") as caught:
        finished.continue_from(begun(hidden=9))
    assert caught.value.cause is Cause.BAD_DATA


def test_a_missing_final_checkpoint_is_an_error(begun, tmp_path):
    with pytest.raises(TrainingFailed, match=r"it no longer exists; .*start_from"):
        Checkpoints(open_storage(str(tmp_path)), "", 2, 1).continue_from(begun())


def test_a_damaged_final_checkpoint_is_an_error(begun, finished, tmp_path):
    newest = max(tmp_path.glob("step-*"))
    (newest / "rank-0.safetensors").write_bytes(b"")
    with pytest.raises(TrainingFailed, match=r"rank-0\.safetensors"):
        finished.continue_from(begun())
