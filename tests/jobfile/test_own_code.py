"""Jobs that run the user's own training code: what a file may say, and every mistake in it."""

import sys
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from stoker.errors import JobError
from stoker.job.own_code import CodeJob, Entrypoint
from stoker.jobfile.documentation import job_schema, key_document
from stoker.jobfile.loading import dump_job, load_job, parse_job

MODULE = """
raise RuntimeError("a check runs nothing")
from elsewhere import imported
made = imported()
class Trainer: pass
async def soon(settings): pass
def train(settings): pass
def alone(): pass
def defaults(settings, more=1, *, named=2): pass
def two(settings, model): pass
def named(*, lr): pass
"""


@pytest.fixture
def job(tmp_path: Path) -> Path:
    (tmp_path / "finetune.py").write_text(MODULE)
    (tmp_path / "scripts").mkdir()
    (tmp_path / "scripts" / "train.py").write_text("print(1)")
    (tmp_path / "broken.py").write_text("def train(:\n")
    file = tmp_path / "finetune.yaml"
    file.write_text("entrypoint: finetune:train\n")
    return file


def mistakes(file: Path, *sets: str) -> list[str]:
    with pytest.raises(JobError) as raised:
        load_job(file, sets, lambda *_: [])
    return [f"{p.path} {p.message}".removesuffix(" (from --set)") for p in raised.value.problems]


@pytest.mark.parametrize(
    "entrypoint",
    ["finetune:train", "finetune:alone", "finetune:defaults", "finetune:made", "finetune:imported", "scripts/train.py"],
)
def test_functions_and_scripts_are_found_without_running_them(job, entrypoint):
    loaded = load_job(job, [f"entrypoint={entrypoint}"], lambda *_: [])
    assert isinstance(loaded.job, CodeJob)
    assert (loaded.job.name, loaded.code) == ("finetune", job.parent)
    assert not {"finetune", "elsewhere"} & set(sys.modules)


@pytest.mark.parametrize(
    ("entrypoint", "message"),
    [
        ("finetune:trian", "no function 'trian' in finetune.py; did you mean 'train'?"),
        ("finetun:train", "no module 'finetun' in '{folder}' (finetun.py); did you mean 'finetune'?"),
        ("finetune:Trainer", "finetune.py:5: 'Trainer' is a class; a training function is written with def"),
        ("finetune:soon", "finetune.py:6: 'soon' is a coroutine; a training function is written with def"),
        ("finetune:two", "finetune.py:10: 'two' needs 2 arguments; a training function takes one argument, "),
        ("finetune:named", "finetune.py:11: 'named' needs 1 arguments; a training function takes one argument, "),
        ("broken:train", "broken.py:1: not Python: "),
        ("scripts/trian.py --epochs 3", "no script 'scripts/trian.py' in '{folder}'; did you mean 'scripts/train.py'?"),
        ("finetune", "'finetune' is neither module:function nor a script (finetune:train for a function, "),
        ("'train.py \"--a'", "'train.py \"--a' cannot be split into words: no closing quotation"),
        ("/usr/bin/train.py", "'/usr/bin/train.py' is not inside the code folder; "),
    ],
)
def test_what_cannot_train_is_named(job, entrypoint, message):
    [found] = mistakes(job, f"entrypoint={entrypoint}")
    assert found.startswith(f"entrypoint {message.format(folder=job.parent)}")


def test_the_keys_of_a_task_are_refused_with_the_reason(job):
    job.write_text("entrypoint: finetune:train\ntask: image-classification\ntraining: {epochs: 3}\nsettigns: {}\n")
    assert mistakes(job) == [
        "task a job with an entrypoint has no 'task': its own code does it",
        "training a job with an entrypoint has no 'training': its own code does it",
        "settigns unknown key; did you mean 'settings'?",
    ]


def test_the_keys_of_own_code_are_refused_where_there_is_a_task(job):
    job.write_text("task: image-classification\ndataset: digits\nsettings: {lr: 1}\nentrypiont: a:b\n")
    assert mistakes(job) == [
        "settings 'settings' belongs to a job that has an entrypoint in place of a task",
        "entrypiont unknown key; did you mean 'entrypoint'?",
    ]


def test_data_that_is_not_there_is_reported(job, tmp_path):
    from stoker.datasets.inspection import inspect

    job.write_text(f"entrypoint: finetune:train\ndataset: {tmp_path / 'none.csv'}\n")
    with pytest.raises(JobError) as raised:
        load_job(job, [], inspect)
    [problem] = raised.value.problems
    assert (problem.path, problem.line) == ("dataset.source", 2)
    assert "none.csv' does not exist" in problem.message


def test_a_job_is_the_same_after_it_was_written_and_read():
    text = (
        "entrypoint: train.py --epochs 3\nsettings: {lr: 2e-5, layers: [1, 2], deep: {a: null}}\ndataset: s3://b/c/\n"
    )
    job = parse_job(text, "a.yaml").job
    assert parse_job(dump_job(job), "a.yaml").job == job
    assert job.settings["lr"] == 2e-5


def test_an_entrypoint_is_a_function_or_the_words_of_a_command():
    assert Entrypoint("a.b:train").function == ("a.b", "train")
    assert Entrypoint("a.b:train").script == ()
    assert Entrypoint("train.py --name 'a b'").script == ("train.py", "--name", "a b")
    assert Entrypoint("train.py --name 'a b'").function is None


def test_the_code_is_shipped_with_its_settings_but_not_with_data(job, tmp_path):
    from stoker.jobfile.code import code_files

    (tmp_path / "big.toml").write_text("lr = 1\n")
    (tmp_path / "rows.json").write_text("1" * 200_000)
    (tmp_path / "rows.csv").write_text("a\n1\n")
    names = [str(file.relative_to(tmp_path)) for file in code_files(tmp_path)]
    assert names == ["big.toml", "broken.py", "finetune.py", "finetune.yaml", "scripts/train.py"]


def test_the_documentation_and_the_schema_know_both_kinds_of_job():
    assert key_document("entrypoint").example == "entrypoint: finetune:train"
    assert "torchrun" in key_document("entrypoint").documentation


@pytest.mark.parametrize(
    ("job", "valid"),
    [
        ({"entrypoint": "a:b"}, True),
        ({"entrypoint": "a:b", "settings": {"lr": 1}, "dataset": "s3://b/c/", "resources": {"workers": 2}}, True),
        ({"entrypoint": "a:b", "dataset": {"source": "s3://b/c/", "format": "csv"}}, False),
        ({"entrypoint": "a:b", "task": "image-classification"}, False),
        ({"entrypoint": "a:b", "training": {"epochs": 3}}, False),
        ({"task": "image-classification", "dataset": {"source": "digits", "format": "csv"}}, True),
        ({"task": "image-classification", "dataset": "digits", "settings": {}}, False),
        ({"task": "image-classification"}, False),
        ({"extends": "base.yaml"}, True),
    ],
)
def test_the_schema_tells_the_kinds_apart_by_the_entrypoint(job, valid):
    assert Draft202012Validator(job_schema()).is_valid(job) is valid
