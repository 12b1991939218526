import json

import pytest

from stoker.tracking.run import RunStatus, State, now

DAY_S = 86400


@pytest.fixture
def ended(make_run):
    """Make a run that has ended some days ago."""

    def make(run_id: str, days: float = 0.0, state: State = State.SUCCEEDED):
        folder = make_run(run_id, RunStatus(state, ended=now() - days * DAY_S), log="a line")
        (folder.path / "checkpoint").write_bytes(b"." * 5000)
        return folder

    return make


def test_without_yes_it_only_shows_what_would_be_deleted(stoker, ended, capsys):
    folder = ended("digits-00000001", days=3)
    assert stoker("rm", "digits") == 0
    shown = capsys.readouterr().out
    assert "digits-00000001  SUCCEEDED  3 d ago" in shown
    assert "nothing is deleted yet: --yes deletes these runs" in shown
    assert folder.readable()


def test_a_run_is_deleted_with_all_that_it_holds(stoker, ended, home, capsys):
    ended("digits-00000001")
    ended("digits-00000002")
    assert stoker("rm", "digits-00000001", "--yes", "-o", "json") == 0
    (facts,) = json.loads(capsys.readouterr().out)
    assert (facts["id"], facts["deleted"]) == ("digits-00000001", True)
    assert facts["bytes"] > 5000
    assert [path.name for path in (home / "runs").iterdir()] == ["digits-00000002"]


def test_old_runs_are_found_by_their_end(stoker, ended, make_run, drive, home):
    ended("old-00000001", days=40)
    ended("failed-00000002", days=31, state=State.FAILED)
    ended("new-00000003", days=1)
    drive(make_run("waiting-00000004", RunStatus(State.QUEUED)))
    make_run("killed-00000005", RunStatus(State.RUNNING))  # without a driver: interrupted, just now
    ended("paused-00000006", days=50, state=State.PAUSED)
    left = {"new-00000003", "waiting-00000004", "killed-00000005", "paused-00000006"}
    for _ in range(2):
        assert stoker("rm", "--older-than", "30d", "--yes") == 0
        assert {path.name for path in (home / "runs").iterdir()} == left


def test_nothing_is_deleted_if_one_run_has_not_ended(stoker, ended, make_run, drive, capsys):
    folder = ended("digits-00000001")
    drive(make_run("other-00000002", RunStatus(State.RUNNING)))
    assert stoker("rm", "digits", "other", "--yes") == 3
    assert "other-00000002 is RUNNING; `stoker cancel other-00000002` ends it first" in capsys.readouterr().err
    assert folder.readable()


@pytest.mark.parametrize("arguments", [(), ("digits", "--older-than", "1d"), ("--older-than", "soon")])
def test_bad_arguments_delete_nothing(stoker, ended, arguments):
    folder = ended("digits-00000001", days=9)
    assert stoker("rm", *arguments, "--yes") == 2
    assert folder.readable()


def test_a_trial_is_not_deleted_alone(stoker, make_sweep, capsys):
    made = make_sweep("digits-00000001", RunStatus(State.SUCCEEDED), trials=1)
    made.trial(0, State.SUCCEEDED, 0.9)
    assert stoker("rm", "digits.0", "--yes") == 3
    assert "digits-00000001.0 is a trial" in capsys.readouterr().err
