"""The end of a run says whose results are shown, and why it ended where its length is not the reason."""

import pytest

from stoker.cli.views.outcome import show_outcome
from stoker.settings import load_settings
from stoker.tracking.run import Progress, RunHeader, RunStatus, State
from stoker.tracking.run_folder import RunFolder


@pytest.fixture
def shown(tmp_path, capsys):
    def show(epoch: int, **facts: str) -> str:
        folder = RunFolder(tmp_path / "runs" / "a-1")
        folder.create(RunHeader("a-1", "a", "tabular-classification", "mlp", "iris", 1.0, 1, "", ""), "task: x\n")
        folder.write_progress(Progress("ended", epoch=epoch, epochs=60))
        metrics = {"loss/train": 0.2, "loss/val": 0.2}
        folder.write_status(RunStatus(State.SUCCEEDED, started=1.0, ended=2.0, metrics=metrics, facts=facts))
        show_outcome(folder, folder.record(), load_settings(environment={"STOKER_HOME": str(tmp_path)}))
        return capsys.readouterr().out

    return show


@pytest.mark.parametrize(
    ("epoch", "facts", "note"),
    [
        (29, {"end": "early stopping", "best_epoch": "26"}, "29, by training.early_stopping; these are the results of"),
        (29, {"end": "time", "best_epoch": "29"}, "29, when training.time had passed; these are the results of the"),
        (60, {"end": "length", "best_epoch": "7"}, "60; these are the results of the best weights, those of epoch 7\n"),
    ],
)
def test_a_note_names_the_end_and_the_epoch_of_the_best_weights(shown, epoch, facts, note):
    assert f"- training ended after epoch {note}" in shown(epoch, **facts)


@pytest.mark.parametrize("facts", [{"end": "length", "best_epoch": "60"}, {}])
def test_nothing_is_said_where_the_last_epoch_is_the_best(shown, facts):
    assert "training ended" not in shown(60, **facts)
