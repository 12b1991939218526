"""Classification of a failed worker's exception."""

import errno
import importlib
import sys

import pytest
import ray.exceptions
import torch

from stoker.architectures.custom import user_failure
from stoker.errors import Cause, ClusterError, Damaged, JobError, Problem, StorageError, TrainingFailed
from stoker.execution.causes import classify_failure, classify_output
from stoker.execution.heartbeat import Heartbeat, Stage

NETWORK = """
def forward(inputs):
    return divide(inputs)


def divide(inputs):
    return inputs / 0
"""


@pytest.fixture
def code(tmp_path, monkeypatch):
    """An importable folder of a user's modules."""
    folder = tmp_path / "code"
    folder.mkdir()
    monkeypatch.syspath_prepend(str(folder))
    return folder


def caught(action, *arguments):
    try:
        action(*arguments)
    except Exception as error:
        return error
    raise AssertionError("nothing was raised")


@pytest.mark.parametrize(
    ("error", "cause"),
    [
        (JobError([Problem("dataset", "no rows")]), Cause.BAD_DATA),
        (TrainingFailed(Cause.NON_FINITE, "the loss became nan"), Cause.NON_FINITE),
        (StorageError(Cause.STORAGE_AUTH, "s3://b refuses"), Cause.STORAGE_AUTH),
        (Damaged("rank-0.safetensors: its SHA-256 does not match the manifest"), Cause.INFRASTRUCTURE),
        (ClusterError("the server does not answer"), Cause.INFRASTRUCTURE),
        (torch.OutOfMemoryError("CUDA out of memory"), Cause.OOM_DEVICE),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes"), Cause.OOM_HOST),
        (MemoryError(), Cause.OOM_HOST),
        (OSError(errno.ENOSPC, "No space left on device"), Cause.DISK_FULL),
        (
            RuntimeError("[gloo/transport/tcp/pair.cc:553] Connection closed by peer [127.0.0.1]:4"),
            Cause.INFRASTRUCTURE,
        ),
        (
            RuntimeError(
                "Gloo connectFullMesh failed with [../third_party/gloo/gloo/transport/tcp/pair.h:301] Connect"
            ),
            Cause.INFRASTRUCTURE,  # the first connection took too long on a busy machine
        ),
        (torch.distributed.DistNetworkError("port: 4, EADDRINUSE: address already in use"), Cause.INFRASTRUCTURE),
        (RuntimeError("CUDA error: uncorrectable ECC error encountered"), Cause.INFRASTRUCTURE),
        (RuntimeError("CUDA-capable device(s) is/are busy or unavailable"), Cause.INTERNAL),  # it has been given none
        (torch.distributed.DistBackendError("NCCL error"), Cause.INFRASTRUCTURE),
        (ray.exceptions.OutOfMemoryError("2 workers were killed"), Cause.OOM_HOST),
        (ray.exceptions.ActorDiedError(), Cause.INFRASTRUCTURE),
        (RuntimeError("shape mismatch"), Cause.INTERNAL),
    ],
)
def test_each_error_has_its_cause(error, cause, tmp_path):
    assert classify_failure(error, tmp_path, Heartbeat()).cause == cause


def test_only_lost_peers_are_classified_as_such(tmp_path):
    lost = classify_failure(torch.distributed.DistBackendError("NCCL error"), tmp_path, Heartbeat())
    refused = classify_failure(ClusterError("the server does not answer"), tmp_path, Heartbeat())
    assert (lost.lost_peers, refused.lost_peers) == (True, False)
    assert "lost its peers" in lost.message


def test_an_error_in_user_code_names_its_line_without_our_frames(code):
    (code / "my_network.py").write_text(NETWORK)
    module = importlib.import_module("my_network")
    result = classify_failure(caught(module.forward, 1), code, Heartbeat())
    sys.modules.pop("my_network")
    assert (result.cause, result.message) == (Cause.USER_CODE, "my_network.py:7: ZeroDivisionError: division by zero")
    assert "in divide" in result.details
    assert "in forward" in result.details
    assert "test_causes" not in result.details


def test_a_wrapped_user_error_is_reported_in_the_same_way(code):
    (code / "my_broken.py").write_text("import nothing_of_this_name\n")
    error = caught(importlib.import_module, "my_broken")
    told = TrainingFailed(Cause.USER_CODE, "")
    told.__cause__ = error
    result = classify_failure(told, code, Heartbeat())
    assert result.message == "my_broken.py:1: ModuleNotFoundError: No module named 'nothing_of_this_name'"
    assert classify_failure(user_failure(error), code, Heartbeat()).cause is Cause.USER_CODE


def test_a_syntax_error_is_a_user_error(code):
    (code / "my_typo.py").write_text("x = (\n")
    result = classify_failure(caught(importlib.import_module, "my_typo"), code, Heartbeat())
    assert result.cause is Cause.USER_CODE
    assert result.message.startswith("my_typo.py:1: SyntaxError:")


def test_a_failure_has_the_workers_progress(tmp_path):
    heartbeat = Heartbeat()
    heartbeat.advance(2, 40)
    heartbeat.checkpoint = (1, 20)
    assert not classify_failure(RuntimeError(), tmp_path, heartbeat).began
    heartbeat.enter(Stage.TRAINING)
    result = classify_failure(RuntimeError(), tmp_path, heartbeat)
    assert (result.step, result.checkpoint, result.began) == (40, (1, 20), True)


def test_a_broken_device_is_the_first_cause_and_not_a_lost_peer(tmp_path):
    text = "CUDA error: uncorrectable ECC error encountered"
    broken = classify_failure(RuntimeError(text), tmp_path, Heartbeat())
    assert (broken.message, broken.lost_peers, broken.device) == (f"RuntimeError: {text}", False, "broken")
    beneath = RuntimeError("NCCL error in: here\nCuda failure 214 'uncorrectable ECC error encountered'")
    assert classify_failure(beneath, tmp_path, Heartbeat()).device == "broken"
    lost = classify_failure(RuntimeError("NCCL error"), tmp_path, Heartbeat())
    assert (lost.lost_peers, lost.device) == (True, "")


def test_a_device_is_missing_where_one_was_given(tmp_path, monkeypatch):
    error = RuntimeError("No CUDA GPUs are available")
    assert classify_failure(error, tmp_path, Heartbeat()).cause == Cause.INTERNAL
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    missing = classify_failure(error, tmp_path, Heartbeat())
    assert (missing.cause, missing.device) == (Cause.INFRASTRUCTURE, "missing")


def test_the_exception_of_a_script_tells_of_a_broken_device_and_a_warning_does_not(monkeypatch):
    trace = ["Traceback (most recent call last):", '  File "train.py", line 3']
    broken = [*trace, "torch.AcceleratorError: CUDA error: uncorrectable ECC error encountered", "Compile with", ""]
    ending = classify_output("train.py", 1, broken, killed=False)
    assert (ending.cause, ending.device) == (Cause.INFRASTRUCTURE, "broken")
    assert ending.message.endswith("torch.AcceleratorError: CUDA error: uncorrectable ECC error encountered")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    warned = ["failed call to cuInit: no CUDA-capable device is detected", *trace, "ValueError: wrong shape"]
    ending = classify_output("train.py", 1, warned, killed=False)
    assert (ending.cause, ending.device) == (Cause.USER_CODE, "")
