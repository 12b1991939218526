"""Errors keep their attributes when they are copied or sent to another process."""

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
@pytest.mark.parametrize("transfer", [copy.copy, lambda error: pickle.loads(pickle.dumps(error))])
def test_an_error_is_the_same_in_another_process(error, transfer):
    other = transfer(error)
    assert type(other) is type(error)
    assert (str(other), other.args, vars(other), other.exit_code) == (
        str(error),
        error.args,
        vars(error),
        error.exit_code,
    )
