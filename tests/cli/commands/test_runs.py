"""`ls` and `status` on real folders, with real leases."""

import json
from dataclasses import replace

import pytest

from stoker.cli.views.outcome import next_commands
from stoker.cli.views.progress import activity_text, phase_text, progress_text
from stoker.cli.views.run_status import status_text
from stoker.settings import Settings, load_settings
from stoker.tracking.run import Progress, RunStatus, State

SUCCEEDED = RunStatus(
    state=State.SUCCEEDED,
    started=100.0,
    ended=172.0,
    metrics={"accuracy/val": 0.98, "accuracy/test": 0.97123, "loss/test": 0.1},
    url="/#/experiments/7/runs/abc?workflowType=machine_learning",
)


RESTING = RunStatus(state=State.PAUSED, attempt=2, checkpoint_epoch=3, checkpoint_step=1200)


def test_progress_is_written_as_far_as_it_is_known():
    assert progress_text(Progress()) == ""
    assert progress_text(Progress(step=1200)) == "step 1,200"
    assert progress_text(Progress(epoch=1, epochs=2, step=5, steps=10)) == "epoch 1/2, step 5/10"


def test_the_workers_word_goes_before_the_drivers(make_run):
    record = make_run(status=RunStatus(phase="starting Ray")).record()
    assert phase_text(record, Progress()) == "starting Ray"
    assert phase_text(record, Progress(phase="loading the data")) == "loading the data"


def test_an_attempt_before_its_drivers_first_word_has_a_phase_nevertheless(make_run):
    record = make_run(status=RunStatus(State.RUNNING, phase="", attempt=3)).record()
    record = replace(record, status=replace(record.status, state=State.RUNNING))
    assert phase_text(record, Progress()) == "attempt 3: starting"


def test_the_phase_includes_the_number_of_a_later_attempt(make_run):
    record = make_run(status=RunStatus(State.RUNNING, phase="", attempt=2)).record()
    record = replace(record, status=replace(record.status, state=State.RUNNING))  # no driver is running here
    assert phase_text(record, Progress(phase="training")) == "attempt 2: training"
    retrying = replace(record.status, state=State.RETRYING, cause="INFRASTRUCTURE")
    assert phase_text(replace(record, status=retrying), Progress(phase="training")) == "retrying after INFRASTRUCTURE"
    told = activity_text(replace(record, status=replace(retrying, message="lost its head")), Progress())
    assert told == "retrying after INFRASTRUCTURE: lost its head"


def test_status_shows_where_a_resting_run_stands(stoker, make_run, capsys):
    make_run(status=RESTING)
    assert stoker("status", "digits") == 0
    shown = dict(line.split("  ", 1) for line in capsys.readouterr().out.splitlines())
    fields = {name: value.strip() for name, value in shown.items()}
    assert (fields["state"], fields["attempts"]) == ("PAUSED", "2")
    assert fields["checkpoint"] == "epoch 3, step 1,200"
    assert fields["next"] == "stoker resume digits-00000001"


@pytest.mark.parametrize(
    ("status", "commands"),
    [
        (RESTING, ["resume", "cancel"]),
        (replace(RESTING, state=State.RUNNING), ["resume", "cancel"]),
        (replace(RESTING, state=State.CANCELLED), ["resume"]),
        (replace(RESTING, state=State.FAILED, cause="USER_CODE"), ["resume"]),
        (RunStatus(State.FAILED, cause="HANG"), ["resume"]),
        (RunStatus(State.FAILED, cause="BAD_DATA"), []),
        (RunStatus(State.CANCELLED), []),
        (RunStatus(State.SUCCEEDED), ["evaluate", "predict", "extend", "logs"]),
    ],
)
def test_each_end_names_what_can_be_typed_next(status, commands, make_run, home):
    """RUNNING without a driver is INTERRUPTED."""
    record = make_run(status=status, tracking_uri="").record()
    assert [command.split()[1] for command, _ in next_commands(record, Settings(home, ""))] == commands


@pytest.mark.parametrize(
    ("changes", "commands"),
    [
        ({}, ["evaluate", "predict", "extend", "logs"]),
        ({"task": "image-generation"}, ["evaluate", "generate", "extend", "logs"]),
        ({"task": "finetune:train", "family": "ray-train", "own_code": True}, ["logs"]),
    ],
)
def test_what_comes_next_is_what_such_a_run_can_do(make_run, home, changes, commands):
    record = make_run(status=RunStatus(State.SUCCEEDED), tracking_uri="").record()
    record = replace(record, header=replace(record.header, **changes))
    assert [command.split()[1] for command, _ in next_commands(record, Settings(home, ""))] == commands


def test_ls_counts_attempts_where_one_was_not_enough(stoker, make_run, capsys):
    make_run("digits-00000001", RESTING)
    make_run("digits-00000002", SUCCEEDED)
    assert stoker("ls") == 0
    head, _, second = capsys.readouterr().out.splitlines()
    assert head.split() == ["run", "state", "task", "family", "age", "duration", "attempts", "metric"]
    assert second.split()[:2] == ["digits-00000001", "PAUSED"]
    assert "  2" in second[head.index("attempts") :]


def test_ls_of_an_empty_home_suggests_submit(stoker, capsys):
    assert stoker("ls") == 0
    assert "stoker submit" in capsys.readouterr().out
    assert stoker("ls", "-o", "json") == 0
    assert json.loads(capsys.readouterr().out) == []


def test_runs_are_listed_newest_first_with_their_main_metric(stoker, make_run, capsys):
    make_run("digits-00000001", SUCCEEDED)
    make_run("wine-00000002", RunStatus(state=State.FAILED, cause="NON_FINITE", message="loss is nan"))
    assert stoker("ls") == 0
    head, first, second = capsys.readouterr().out.splitlines()
    assert head.split() == ["run", "state", "task", "family", "age", "duration", "metric"]
    assert first.split()[:2] == ["wine-00000002", "FAILED"]
    assert "digits-00000001  SUCCEEDED  image-classification  cnn" in second
    assert "1 min 12 s  accuracy/test 0.9712" in second


def test_only_the_newest_are_listed(stoker, make_run, capsys):
    for number in range(4):
        make_run(f"digits-0000000{number}", SUCCEEDED)
    assert stoker("ls", "-n", "2") == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[1:3]] == ["digits-00000003", "digits-00000002"]
    assert lines[3] == "... and 2 older; `stoker ls --all` shows them"
    assert stoker("ls", "--all", "-o", "json") == 0
    assert len(json.loads(capsys.readouterr().out)) == 4


def test_a_run_runs_as_long_as_its_driver_lives(stoker, make_run, drive, capsys):
    driver = drive(make_run())
    driver.tell(progress={"phase": "training", "epoch": 2, "epochs": 3, "step": 20, "steps": 30, "seconds_left": 65.0})
    assert stoker("ls") == 0
    assert "RUNNING" in capsys.readouterr().out
    assert stoker("status", "digits") == 0
    assert "epoch 2/3, step 20/30, 1 min 5 s left" in capsys.readouterr().out
    driver.kill()
    assert stoker("ls") == 0
    shown = capsys.readouterr().out
    assert "INTERRUPTED" in shown
    assert "RUNNING" not in shown


def test_the_duration_of_an_interrupted_run_stands_still(stoker, make_run, drive, capsys):
    driver = drive(make_run())
    driver.kill()
    durations = []
    for _ in range(2):
        assert stoker("status", "@last", "-o", "json") == 0
        durations.append(json.loads(capsys.readouterr().out)["duration_s"])
    assert durations[0] == durations[1] < 5


@pytest.mark.parametrize("reference", ["digits-00000001", "digits", "digits-0000", "run:digits-00000001", "@last"])
def test_a_run_is_found_by_all_its_names(reference, stoker, make_run, capsys):
    make_run("digits-00000001", SUCCEEDED)
    assert stoker("status", reference, "-o", "json") == 0
    assert json.loads(capsys.readouterr().out)["id"] == "digits-00000001"


def test_an_ambiguous_prefix_is_refused(stoker, make_run, capsys):
    make_run("digits-aaaa0001", SUCCEEDED)
    make_run("digits-aaaa0002", SUCCEEDED)
    assert stoker("status", "digits-aaaa") == 3
    error = capsys.readouterr().err
    assert "digits-aaaa0001" in error
    assert "digits-aaaa0002" in error


def test_status_names_the_workers_that_the_others_wait_for_while_the_run_trains(make_run):
    slow = ["worker 1 on gpu-7: 3.00 s of work a step, 3.0 times the median of 1.00 s"]
    run = make_run(status=replace(SUCCEEDED, slow=slow))
    ended = run.record()
    running = replace(ended, status=replace(ended.status, state=State.RUNNING))
    assert slow[0] in status_text(run, running, load_settings())
    assert slow[0] not in status_text(run, ended, load_settings())


def test_status_names_the_failures_of_earlier_attempts(stoker, make_run, capsys):
    failures = ["attempt 1 at step 20: INFRASTRUCTURE: worker 0 died", "attempt 2 at step 40: HANG: no step for 60 s"]
    make_run(status=replace(SUCCEEDED, attempt=3, failures=failures))
    assert stoker("status", "digits") == 0
    lines = capsys.readouterr().out.splitlines()
    first = next(place for place, line in enumerate(lines) if line.startswith("failures "))
    assert [line.removeprefix("failures").strip() for line in lines[first : first + 2]] == failures


def test_status_of_a_failure_names_cause_and_cure(stoker, make_run, capsys):
    make_run(status=RunStatus(state=State.FAILED, cause="NON_FINITE", message="loss is nan at step 3"))
    assert stoker("status", "digits") == 0
    shown = capsys.readouterr().out
    assert "loss is nan at step 3" in shown
    assert "lower training.optimizer.lr" in shown


def test_status_of_a_success_shows_the_metrics_by_part(stoker, make_run, capsys):
    make_run(status=SUCCEEDED)
    assert stoker("status", "digits") == 0
    shown = capsys.readouterr().out
    assert "metric     val    test" in shown
    assert "accuracy  0.98  0.9712" in shown
    assert "stoker ui digits-00000001" in shown


def test_the_page_of_a_run_with_a_server_is_a_link_without_the_password(stoker, make_run, capsys):
    make_run(status=SUCCEEDED, tracking_uri="http://user:secret@mlflow:5000/")
    assert stoker("status", "digits") == 0
    shown = capsys.readouterr().out
    assert "http://mlflow:5000/#/experiments/7/runs/abc?workflowType=machine_learning" in shown
    assert "secret" not in shown
    assert stoker("status", "digits", "-o", "json") == 0
    assert "secret" not in capsys.readouterr().out


def test_a_run_without_a_record_has_no_page(stoker, make_run, capsys):
    make_run(status=RunStatus(state=State.SUCCEEDED), tracking_uri="")
    assert stoker("status", "digits") == 0
    assert "page" not in capsys.readouterr().out


def test_json_has_no_nan(stoker, make_run, capsys):
    make_run(progress=Progress(metrics={"loss/train": float("nan")}))
    assert stoker("status", "digits", "-o", "json") == 0
    assert json.loads(capsys.readouterr().out)["metrics"] == {"loss/train": None}


def test_no_color_reaches_a_pipe(stoker, make_run, capsys):
    make_run(status=SUCCEEDED)
    assert stoker("ls") == 0
    assert "\x1b" not in capsys.readouterr().out


def test_status_tells_the_weaknesses_that_the_newest_metrics_show(make_run):
    run = make_run(status=replace(SUCCEEDED, metrics={}))
    run.write_progress(Progress(notes={"mode collapse": "diversity is 0.3 on val"}))
    assert "diversity is 0.3 on val" in status_text(run, run.record(), load_settings())
    ended = run.record()
    ended = replace(ended, status=replace(ended.status, metrics={"active_units/test": 0.0}))
    text = status_text(run, ended, load_settings())
    assert "active_units is 0 on test" in text
    assert "diversity" not in text
