"""Errors that pass from process to process."""

import copy
import pickle

import pytest

from stoker.errors import Cause, JobError, NotFound, Problem, StorageError, TrainingFailed

ERRORS = [
    JobError([Problem("training.lr", "is wrong", 3, 5, "job.yaml")], "job.yaml"),
    NotFound("no run"),
    StorageError(Cause.DISK_FULL, "the disk is full"),
    TrainingFailed(Cause.USER_CODE, "own.py:3: wrong"),
]


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("pass_on", [copy.copy, lambda error: pickle.loads(pickle.dumps(error))])
def test_an_error_comes_to_another_process_as_what_it_is(error, pass_on):
    other = pass_on(error)
    assert type(other) is type(error)
    assert (str(other), other.args, vars(other), other.exit_code) == (
        str(error),
        error.args,
        vars(error),
        error.exit_code,
    )
