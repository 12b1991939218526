"""`pause` and `cancel` on runs that live, rest and have ended."""

import json

import pytest

from stoker.tracking.run import RunStatus, State

RESTING = RunStatus(state=State.PAUSED, attempt=1, checkpoint_epoch=3, checkpoint_step=1200)


def test_cancel_ends_a_run(stoker, make_run, drive, capsys):
    drive(make_run())
    assert stoker("cancel", "digits", "--wait") == 0
    assert capsys.readouterr().out == "digits-00000001 is CANCELLED\n"


def test_cancel_returns_at_once_without_wait(stoker, make_run, drive, capsys):
    folder = make_run()
    drive(folder)
    assert stoker("cancel", "digits") == 0
    asked = "asked digits-00000001 to end; `stoker wait digits-00000001` returns when it has\n"
    assert capsys.readouterr().out in (asked, "digits-00000001 is CANCELLED\n")  # it may be faster than we look
    assert folder.cancel_request.exists()


@pytest.mark.parametrize("state", [State.SUCCEEDED, State.FAILED, State.CANCELLED])
def test_cancel_refuses_what_has_ended(state, stoker, make_run, capsys):
    make_run(status=RunStatus(state=state))
    assert stoker("cancel", "digits") == 3
    assert capsys.readouterr().err == f"error: digits-00000001 is {state}: nothing to cancel\n"


@pytest.mark.parametrize("state", [State.PAUSED, State.RUNNING])
def test_cancel_ends_what_nothing_works_on_at_once(state, stoker, make_run, capsys):
    folder = make_run(status=RunStatus(state=state))
    assert stoker("cancel", "digits") == 0
    assert capsys.readouterr().out == "digits-00000001 is CANCELLED\n"
    assert folder.status().state is State.CANCELLED


def test_cancel_says_what_mlflow_does_not_know(stoker, make_run, capsys):
    make_run(status=RunStatus(state=State.PAUSED, mlflow_run="abc"), tracking_uri="http://127.0.0.1:9")
    assert stoker("cancel", "digits", "-o", "json") == 0
    captured = capsys.readouterr()
    assert json.loads(captured.out)["state"] == "CANCELLED"
    assert captured.err == "MLflow does not know that it is CANCELLED: Connection refused\n"


def test_pause_lets_a_run_rest(stoker, make_run, drive, capsys):
    drive(make_run())
    assert stoker("pause", "digits", "--wait") == 0
    assert capsys.readouterr().out == "digits-00000001 is PAUSED; `stoker resume digits-00000001` goes on\n"


def test_pause_returns_at_once_without_wait(stoker, make_run, drive, capsys):
    folder = make_run()
    drive(folder)
    assert stoker("pause", "digits") == 0
    said = "asked digits-00000001 to rest; `stoker wait digits-00000001` returns when it does\n"
    assert capsys.readouterr().out == said
    assert folder.pause_request.exists()
    assert not folder.cancel_request.exists()


@pytest.mark.parametrize("state", [State.SUCCEEDED, State.PAUSED, State.FAILED])
def test_pause_refuses_what_nothing_works_on(state, stoker, make_run, capsys):
    folder = make_run(status=RunStatus(state=state))
    assert stoker("pause", "digits") == 3
    assert capsys.readouterr().err == f"error: digits-00000001 is {state}: nothing to pause\n"
    assert not folder.pause_request.exists()


def test_a_rest_shows_the_checkpoint_and_how_to_go_on(stoker, make_run, capsys):
    make_run(status=RESTING)
    assert stoker("wait", "digits") == 0
    assert capsys.readouterr().out.splitlines() == [
        "PAUSED  digits-00000001",
        "checkpoint: epoch 3, step 1,200",
        "next:",
        "  stoker resume digits-00000001  go on from the checkpoint",
        "  stoker cancel digits-00000001  end it for good",
    ]
