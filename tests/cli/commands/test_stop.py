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


def test_cancel_warns_if_mlflow_cannot_be_updated(stoker, make_run, capsys):
    make_run(status=RunStatus(state=State.PAUSED, mlflow_run="abc"), tracking_uri="http://127.0.0.1:9")
    assert stoker("cancel", "digits", "-o", "json") == 0
    captured = capsys.readouterr()
    assert json.loads(captured.out)["state"] == "CANCELLED"
    assert captured.err == "MLflow does not show that it is CANCELLED: Connection refused\n"


def test_pause_lets_a_run_rest(stoker, make_run, drive, capsys):
    drive(make_run())
    assert stoker("pause", "digits", "--wait") == 0
    assert capsys.readouterr().out == "digits-00000001 is PAUSED; `stoker resume digits-00000001` continues it\n"


def test_pause_returns_at_once_without_wait(stoker, make_run, drive, capsys):
    folder = make_run()
    drive(folder)
    assert stoker("pause", "digits") == 0
    said = "asked digits-00000001 to pause; `stoker wait digits-00000001` returns when it has\n"
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
        "  stoker resume digits-00000001  continue from the checkpoint",
        "  stoker cancel digits-00000001  end it for good",
    ]


@pytest.mark.parametrize("command", ["cancel", "kill"])
def test_ending_one_trial_leaves_the_driver_of_its_sweep_running(command, stoker, make_sweep, drive, capsys):
    sweep = make_sweep()
    driver = drive(sweep.folder)
    sweep.trial(0, State.RUNNING, 0.5)
    assert stoker(command, "digits.0") == 0
    asked = "asked digits-00000001.0 to end; `stoker wait digits-00000001.0` returns when it has\n"
    assert capsys.readouterr().out == asked
    assert sweep.folder.trial(0).cancel_request.exists()
    assert not sweep.folder.cancel_request.exists()
    driver.tell(log="still here")
    assert sweep.folder.record().state is State.RUNNING


def test_a_trial_of_a_sweep_at_rest_ends_when_it_goes_on(stoker, make_sweep):
    sweep = make_sweep(status=RESTING)
    sweep.trial(0, State.RUNNING, 0.5)
    assert stoker("cancel", "digits.0") == 0
    assert sweep.folder.trial(0).cancel_request.exists()
    assert sweep.folder.status() == RESTING


def test_cancel_refuses_a_trial_that_has_ended(stoker, make_sweep, capsys):
    make_sweep().trial(0, State.PRUNED, 0.5)
    assert stoker("cancel", "digits.0") == 3
    assert capsys.readouterr().err == "error: digits-00000001.0 is PRUNED: nothing to cancel\n"


@pytest.mark.parametrize("command", ["pause", "resume"])
def test_a_trial_rests_and_goes_on_with_its_sweep_alone(command, stoker, make_sweep, drive, capsys):
    sweep = make_sweep()
    drive(sweep.folder)
    sweep.trial(0, State.RUNNING, 0.5)
    assert stoker(command, "digits.0") == 3
    why = "is a trial; name its whole sweep"
    assert capsys.readouterr().err == f"error: digits-00000001.0 {why}: `stoker {command} digits-00000001`\n"
    assert not sweep.folder.trial(0).pause_request.exists()
