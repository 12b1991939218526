"""A function is found and called as Ray Train would call it, or the failure says what is wrong with it."""

import pytest

from stoker.errors import Cause, TrainingFailed
from stoker.execution.ray_train.function import function_of
from stoker.job.own_code import CodeJob

MODULE = """
import functools
called = []
def train(settings): called.append(settings)
def alone(): called.append(None)
def two(settings, model): pass
def named(*, lr): pass
partial = functools.partial(two, model=1)
number = 3
"""


@pytest.fixture(autouse=True)
def module(tmp_path, monkeypatch):
    (tmp_path / "own_functions.py").write_text(MODULE)
    monkeypatch.syspath_prepend(tmp_path)


def job(name: str) -> CodeJob:
    return CodeJob.model_validate({"name": "a", "entrypoint": f"own_functions:{name}"})


@pytest.mark.parametrize(("name", "expected"), [("train", {"lr": 1}), ("alone", None)])
def test_a_function_gets_its_settings_or_nothing(name, expected):
    import own_functions

    own_functions.called.clear()
    function_of(job(name))({"lr": 1})
    assert own_functions.called == [expected]


def test_what_only_running_the_module_shows_is_taken():
    assert callable(function_of(job("partial")))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("missing", "own_functions has no 'missing': entrypoint is own_functions:missing"),
        ("number", "own_functions has 'number', which cannot be called: entrypoint is own_functions:number"),
        ("two", "own_functions:two needs settings, model; a training function takes one argument, its settings, "),
        ("named", "own_functions:named needs lr; a training function takes one argument, its settings, or none"),
    ],
)
def test_what_cannot_be_called_is_named(name, message):
    with pytest.raises(TrainingFailed) as raised:
        function_of(job(name))
    assert raised.value.cause is Cause.USER_CODE
    assert raised.value.message.startswith(message)
