"""`resume` and `extend`, with drivers that do not train."""

import json
import shutil
from dataclasses import replace

import pytest

from stoker.cli.commands.resume import resumed_text
from stoker.jobfile.loading import load_job
from stoker.tracking.run import RunStatus, State
from stoker.tracking.run_folder import RunFolder

IRIS = (
    "task: tabular-classification\ndataset: iris\nname: iris\n"
    "training: {steps: 64, time: 10 min, optimizer: {type: adam, lr: 0.01}}\n"
)
STOOD = RunStatus(state=State.PAUSED, attempt=1, checkpoint_epoch=2, checkpoint_step=80)


@pytest.fixture
def iris(make_run):
    def make(status: RunStatus) -> RunFolder:
        return make_run("iris-00000001", status, tracking_uri="", job=IRIS)

    return make


def test_resume_goes_on_and_stays_until_the_end(starting, iris, capsys):
    folder = iris(STOOD)
    (folder.path / "finish").touch()
    assert starting("resume", "iris") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "run iris-00000001 was PAUSED; it continues from epoch 2, step 80"
    assert any(line.startswith("SUCCEEDED  iris-00000001") for line in lines)
    assert any("stoker extend iris-00000001 --epochs N" in line for line in lines)
    assert folder.status().attempt == 2


def test_resume_lets_go_and_is_refused_while_the_run_goes_on(starting, iris, until, capsys):
    folder = iris(replace(STOOD, state=State.FAILED, cause="HANG", checkpoint_step=0))
    assert starting("resume", "iris", "--detach") == 0
    first, second = capsys.readouterr().out.splitlines()
    assert first == "run iris-00000001 was FAILED; it continues from the beginning"
    assert second.startswith("detached; the run continues. stoker logs -f iris-00000001")
    until(lambda: folder.record().state is State.RUNNING, "the run")
    assert starting("resume", "iris") == 3
    assert capsys.readouterr().err == "error: iris-00000001 is RUNNING: its driver is alive\n"


def test_a_lost_driver_may_have_left_a_checkpoint_that_it_did_not_tell_of(iris):
    record = iris(replace(STOOD, checkpoint_step=0)).record()
    lost = replace(record, status=replace(record.status, state=State.INTERRUPTED))
    assert resumed_text(lost).endswith("was INTERRUPTED; it continues from its newest checkpoint, if it has one")


def test_resume_as_json_prints_only_json(starting, iris, capsys):
    folder = iris(replace(STOOD, state=State.CANCELLED))
    (folder.path / "finish").touch()
    assert starting("resume", "iris", "-o", "json") == 0
    shown = json.loads(capsys.readouterr().out)
    assert (shown["state"], shown["attempt"], shown["checkpoint_step"]) == ("SUCCEEDED", 2, 120)


def test_resume_refuses_what_has_succeeded(starting, iris, capsys):
    iris(RunStatus(State.SUCCEEDED))
    assert starting("resume", "iris") == 3
    said = "iris-00000001 has succeeded; `stoker extend iris-00000001 --epochs N` trains it further"
    assert capsys.readouterr().err == f"error: {said}\n"


def test_resume_starts_nothing_without_the_runs_tracking_server(starting, make_run, capsys):
    folder = make_run(status=STOOD, tracking_uri="http://127.0.0.1:9")
    assert starting("resume", "digits") == 4
    assert "http://127.0.0.1:9 does not answer" in capsys.readouterr().err
    assert folder.record().status == STOOD


def test_an_extension_keeps_its_checkpoints_where_those_of_the_run_are(starting, iris, home, monkeypatch):
    monkeypatch.setenv("STOKER_STORAGE", "/elsewhere")
    first = iris(RunStatus(State.SUCCEEDED))
    assert starting("extend", "iris", "--epochs", "4", "-d", "-o", "json") == 0
    (second,) = (RunFolder(path) for path in home.glob("runs/*") if path != first.path)
    assert (second.header().extends, second.header().storage) == ("iris-00000001", "")


def test_submit_of_an_extension_starts_from_the_same_weights(starting, iris, home, capsys):
    first = iris(RunStatus(State.SUCCEEDED))
    assert starting("extend", "iris", "--epochs", "4", "-d", "-o", "json") == 0
    (second,) = (RunFolder(path) for path in home.glob("runs/*") if path != first.path)
    second.resolved.write_text(IRIS)
    assert starting("submit", f"run:{second.path.name}", "-d") == 0
    assert "\nextends iris-00000001\n" in capsys.readouterr().out
    (third,) = (RunFolder(path) for path in home.glob("runs/*") if path not in (first.path, second.path))
    assert third.header().extends == "iris-00000001"
    shutil.rmtree(first.path)
    assert starting("submit", f"run:{second.path.name}", "-d") == 3
    assert "extends iris-00000001, which is gone" in capsys.readouterr().err


def test_extend_makes_a_new_run_of_so_many_epochs(starting, iris, home, capsys):
    first = iris(RunStatus(State.SUCCEEDED))
    first.code.mkdir()
    (first.code / "mine.py").write_text("")
    first.resolved.write_text(IRIS + "environment: {code: .}\n")
    assert starting("extend", "iris", "--epochs", "4", "--set", "training.optimizer.lr=0.001", "--detach") == 0
    shown = capsys.readouterr().out
    (second,) = (RunFolder(path) for path in home.glob("runs/*") if path != first.path)
    assert f"run {second.path.name}\n" in shown
    assert "\nextends iris-00000001\n" in shown
    header, training = second.header(), load_job(second.job).job.training
    assert (header.extends, header.name) == ("iris-00000001", "iris")
    assert (training.epochs, training.steps, training.time) == (4, None, None)
    assert training.optimizer.lr == 0.001
    assert [path.name for path in second.code.iterdir()] == ["mine.py"]
    assert first.record().state is State.SUCCEEDED


@pytest.mark.parametrize(
    ("state", "cure"),
    [
        (State.FAILED, "has not succeeded; `stoker resume iris-00000001` continues it"),
        (State.PAUSED, "has not succeeded; `stoker resume iris-00000001` continues it"),
    ],
)
def test_extend_refuses_what_has_not_succeeded(state, cure, starting, iris, capsys):
    iris(RunStatus(state))
    assert starting("extend", "iris", "--epochs", "1") == 3
    assert cure in capsys.readouterr().err


def test_extend_refuses_what_still_goes_on(starting, iris, drive, capsys):
    drive(iris(RunStatus()))
    assert starting("extend", "iris", "--epochs", "1") == 3
    assert "is RUNNING; it can be extended once it has succeeded" in capsys.readouterr().err


@pytest.mark.parametrize("epochs", ["0", "-1", "many"])
def test_extend_wants_epochs(epochs, starting, iris):
    iris(RunStatus(State.SUCCEEDED))
    assert starting("extend", "iris", "--epochs", epochs) == 2


@pytest.mark.parametrize("options", [[], ["--epochs", "1", "--trials", "1"]])
def test_extend_wants_either_epochs_or_trials(options, starting, iris, capsys):
    iris(RunStatus(State.SUCCEEDED))
    assert starting("extend", "iris", *options) == 2
    assert "either --epochs N trains a run further, or --trials N" in capsys.readouterr().err


@pytest.fixture
def sweep(make_sweep):
    """A sweep that has succeeded, with a trial that has, too, and one that has not."""
    made = make_sweep("iris-00000001", RunStatus(State.SUCCEEDED, attempt=1), trials=2, job=IRIS)
    made.trial(0, State.SUCCEEDED, 0.9)
    made.trial(1, State.PRUNED, 0.5)
    return made


def test_a_finished_sweep_goes_on_with_more_trials(sweep, starting, until, capsys):
    folder = sweep.folder
    for more, added in ((20, 20), (5, 25)):
        (folder.path / "finish").touch()
        assert starting("extend", "iris", "--trials", more) == 0
        assert f"run iris-00000001 continues with {more} more trials\n" in capsys.readouterr().out
        assert folder.more_trials() == added
        until(lambda: not folder.has_driver(), "the driver to go")
    assert folder.status().attempt == 3


def test_what_still_goes_on_gets_no_more_trials(sweep, starting, capsys):
    assert starting("extend", "iris", "--trials", "20", "-d") == 0
    assert starting("extend", "iris", "--trials", "20", "-d") == 3
    assert "it can be extended once it has succeeded" in capsys.readouterr().err
    assert sweep.folder.more_trials() == 20


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["iris", "--epochs", "4"], 2, "`stoker extend iris-00000001.best --epochs 4` trains its best one further"),
        (["iris.0", "--trials", "4"], 2, "iris-00000001.0 is not a sweep: --epochs N trains it further"),
        (["iris", "--trials", "4", "--set", "seed=1"], 2, "--set cannot change an existing sweep"),
        (["iris.1", "--epochs", "4"], 3, "`stoker submit run:iris-00000001.1` trains it from the beginning"),
        (["iris.0", "--epochs", "4"], 3, "iris-00000001.0 no longer has a checkpoint"),
    ],
)
def test_what_cannot_be_extended_is_refused_with_what_can(arguments, code, said, sweep, starting, capsys):
    assert starting("extend", *arguments) == code
    assert said in capsys.readouterr().err.replace("\n", " ")


def test_a_sweep_that_a_time_alone_ends_gets_no_more_trials(make_sweep, starting, capsys):
    make_sweep("iris-00000001", RunStatus(State.SUCCEEDED), trials=None)
    assert starting("extend", "iris", "--trials", "4") == 3
    assert "only a time ends it" in capsys.readouterr().err


def test_a_trial_is_trained_further_as_a_run_of_its_own(sweep, starting, home):
    trial = sweep.folder.trial(0)
    trial.checkpoints.mkdir()
    (trial.checkpoints / "step-1").touch()
    assert starting("extend", "iris.best", "--epochs", "4", "--detach") == 0
    (new,) = (RunFolder(path) for path in home.glob("runs/*") if path != sweep.folder.path)
    assert (new.header().extends, load_job(new.job).job.training.epochs) == ("iris-00000001.0", 4)
    assert new.beside(new.header().extends).path == trial.path


def test_a_trial_is_submitted_again_as_a_run_of_its_own_with_the_code_of_its_sweep(sweep, starting, home):
    sweep.folder.code.mkdir()
    (sweep.folder.code / "mine.py").write_text("")
    sweep.folder.trial(1).resolved.write_text(IRIS.replace("0.01", "0.5") + "environment: {code: .}\n")
    assert starting("submit", "run:iris.1", "-d", "-o", "json") == 0
    (new,) = (RunFolder(path) for path in home.glob("runs/*") if path != sweep.folder.path)
    assert load_job(new.job).job.training.optimizer.lr == 0.5
    assert [path.name for path in new.code.iterdir()] == ["mine.py"]


def test_weights_of_a_sweep_are_those_of_its_best_trial(sweep, starting, home):
    sweep.folder.trial(0).model.mkdir()
    assert starting("submit", "run:iris.0", "--set", "training.start_from=run:iris", "-d", "-o", "json") == 0
    (new,) = (RunFolder(path) for path in home.glob("runs/*") if path != sweep.folder.path)
    assert load_job(new.job).job.training.start_from == "run:iris-00000001.0"


def test_resume_shows_the_progress_of_a_sweep(make_sweep, starting, capsys):
    sweep = make_sweep("iris-00000001", STOOD, trials=4, job=IRIS)
    sweep.trial(0, State.SUCCEEDED, 0.9)
    assert starting("resume", "iris", "-d") == 0
    said = "run iris-00000001 was PAUSED; it continues: 1/4 trials have ended"
    assert capsys.readouterr().out.splitlines()[0] == said


def test_resume_refuses_a_sweep_that_has_succeeded(sweep, starting, capsys):
    assert starting("resume", "iris") == 3
    assert "`stoker extend iris-00000001 --trials N` adds trials" in capsys.readouterr().err
