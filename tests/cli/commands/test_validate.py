"""`validate`: files, standard input, earlier runs; all mistakes at once."""

import json

import pytest

from stoker.cli.job_argument import load
from stoker.cli.session import Session
from stoker.tracking.run import RunStatus, State

WRONG = """task: image-classification
architecture:
  family: cnn
  channles: [3]
dataset: digits
training: {epochs: fast}
"""


@pytest.fixture
def job(tmp_path):
    path = tmp_path / "digits.yaml"
    path.write_text("task: image-classification\ndataset: digits\n")
    return path


def test_a_sound_file_is_fine(stoker, job, capsys):
    assert stoker("validate", job, "--set", "training.epochs=3") == 0
    assert capsys.readouterr().out == f"{job}: fine\n  image-classification: cnn on digits, 3 epochs\n"


def test_all_mistakes_come_at_once(stoker, job, capsys):
    job.write_text(WRONG)
    assert stoker("validate", job) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    head, first, second = captured.err.splitlines()
    assert head == f"{job}: 2 problems"
    assert first.split()[:2] == ["4:3", "architecture.channles"]
    assert second.split()[:2] == ["6:20", "training.epochs"]


def test_a_mistake_next_to_a_list_is_reported_like_any_other(stoker, job, capsys):
    job.write_text(
        "task: tabular-classification\ndataset: {source: iris, columns: {drop: [a]}}\ntraining: {epochs: fast}\n"
    )
    assert stoker("validate", job) == 2
    assert "'fast' is not a" in capsys.readouterr().err


def starting_from(job, start):
    job.write_text(f"task: image-classification\ndataset: digits\ntraining: {{start_from: '{start}'}}\n")
    return job


@pytest.mark.parametrize(
    ("start", "message"),
    [
        ("run:nobody", "no run 'nobody'"),
        ("run:digits", "digits-00000001 is FAILED and has no model"),
        ("nowhere", "no saved model in 'nowhere' (weights.safetensors is missing)"),
    ],
)
def test_weights_that_are_not_there_are_a_mistake_of_the_file(stoker, job, make_run, capsys, start, message):
    make_run(status=RunStatus(State.FAILED, cause="BAD_DATA"))
    assert stoker("validate", starting_from(job, start)) == 2
    error = capsys.readouterr().err
    assert "3:24  training.start_from" in error
    assert message in error


def test_weights_are_those_of_the_run_that_a_name_means_now(home, job, make_run):
    make_run().model.mkdir()
    loaded = load(Session(str(home)), str(starting_from(job, "run:digits")), ())
    assert loaded.job.training.start_from == "run:digits-00000001"


def test_a_classifier_is_a_run_by_its_id_or_trained_with_the_job(home, stoker, job, make_run, capsys):
    make_run().model.mkdir()
    text = "task: image-generation\ndataset: digits\ntraining: {{evaluate: {{features: '{}'}}}}\n"
    for given, found in (("run:digits", "run:digits-00000001"), ("trained", "trained")):
        job.write_text(text.format(given))
        assert load(Session(str(home)), str(job), ()).job.training.evaluate.features == found
    job.write_text(text.format("run:nobody"))
    assert stoker("validate", job) == 2
    assert "3:33  training.evaluate.features" in capsys.readouterr().err


def test_mistakes_as_json_have_their_places(stoker, job, capsys):
    job.write_text(WRONG)
    assert stoker("validate", job, "-o", "json") == 2
    problems = json.loads(capsys.readouterr().out)["error"]["problems"]
    assert [(each["path"], each["line"], each["column"]) for each in problems] == [
        ("architecture.channles", 4, 3),
        ("training.epochs", 6, 20),
    ]


def test_a_sound_file_as_json_is_the_job(stoker, job, capsys):
    assert stoker("validate", job, "-o", "json") == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["problems"] == []
    assert shown["job"]["dataset"]["source"] == "digits"


def test_standard_input_is_a_job(spawn, job):
    with job.open() as file:
        process = spawn("validate", "-", stdin=file)
        shown, error = process.communicate(timeout=20)
    assert (process.returncode, error) == (0, "")
    assert shown.startswith("<stdin>: fine")


@pytest.mark.parametrize("reference", ["run:digits-00000001", "@last", "run:digits"])
def test_an_earlier_run_is_a_job(reference, stoker, make_run, capsys):
    make_run().resolved.write_text("task: image-classification\ndataset: digits\ntraining: {epochs: 7}\n")
    assert stoker("validate", reference) == 0
    assert "7 epochs" in capsys.readouterr().out


def test_a_class_of_ones_own_is_looked_for_next_to_the_file(stoker, job, capsys):
    job.write_text("task: image-classification\ndataset: digits\narchitecture: {family: custom, class: nets:Net}\n")
    assert stoker("validate", job) == 2
    assert f"3:39  architecture.class  no module 'nets' in '{job.parent}' (nets.py)" in capsys.readouterr().err
    (job.parent / "nets.py").write_text("class Net: pass")
    assert stoker("validate", job) == 0
    assert "custom on digits" in capsys.readouterr().out


def test_an_earlier_run_keeps_its_own_code(stoker, make_run, capsys):
    run = make_run()
    run.resolved.write_text(
        "task: image-classification\ndataset: digits\narchitecture: {family: custom, class: nets:Net}\n"
    )
    run.code.mkdir()
    (run.code / "nets.py").write_text("class Net: pass")
    assert stoker("validate", "run:digits") == 0
    assert "custom on digits" in capsys.readouterr().out


def test_a_file_that_is_not_there_is_not_found(stoker, capsys):
    assert stoker("validate", "nothing.yaml") == 3
    assert "no file 'nothing.yaml'" in capsys.readouterr().err


def test_a_folder_is_bad_input(stoker, tmp_path):
    assert stoker("validate", tmp_path) == 2


def test_a_set_without_a_value_is_bad_input(stoker, job, capsys):
    assert stoker("validate", job, "--set", "training.epochs") == 2
    assert "training.epochs=1" in capsys.readouterr().err
