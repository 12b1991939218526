"""The user's training function in one of Ray Train's workers."""

import importlib
import inspect
import logging
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stoker.errors import Cause, TrainingFailed
from stoker.execution.worker_result import WorkerResult
from stoker.job.own_code import CodeJob

POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
NAMED = (inspect.Parameter.KEYWORD_ONLY,)


@dataclass(frozen=True)
class Order:
    """What a worker is told; it is sent to its process."""

    folder: Path
    """Of the run, on the driver's machine."""
    files: dict[str, bytes] | None
    """Content of the folder, if worker and driver share no disk."""
    attempt: int
    """Counted from 1."""


class FunctionFailed(Exception):
    """The function has failed; the result says how, and is sent to the driver."""

    def __init__(self, result: WorkerResult) -> None:
        self.result = result
        super().__init__(result)

    def __str__(self) -> str:
        return self.result.message


def run_function(order: Order) -> None:
    """Set up the process as the job says, and call the user's function.

    Raises:
        FunctionFailed: it failed, or there is no such function.

    """
    from ray._private.ray_constants import LOG_PREFIX_ACTOR_NAME
    from ray.train import get_context

    from stoker.execution.causes import classify_failure
    from stoker.execution.contract import worker_name
    from stoker.execution.heartbeat import Heartbeat
    from stoker.execution.own_code.setting_up import apply, own_environment
    from stoker.execution.own_code.system_relay import SystemRelay
    from stoker.execution.resolved_job import load_run_job
    from stoker.execution.system_metrics.sampler import system_sampler
    from stoker.execution.worker_folder import unpack
    from stoker.secret_files import load_secret_files
    from stoker.tracking.run_folder import RunFolder

    rank = get_context().get_world_rank()
    logging.getLogger().setLevel(logging.WARNING)  # Ray sets it to INFO
    folder = RunFolder(order.folder)
    try:
        if order.files is not None:
            load_secret_files()
            folder = unpack(order.files, folder.path.name, str(rank))
        header = folder.header()
        for stream in (sys.stdout, sys.stderr):
            print(f"{LOG_PREFIX_ACTOR_NAME}{worker_name(rank, header.id)}", file=stream, flush=True)
        job = load_run_job(folder)
        assert isinstance(job, CodeJob)
        variables = own_environment(job, header, order.attempt, folder.code)
        apply(variables, folder.code)
        settings = dict(job.settings)
        if job.dataset:
            settings.setdefault("dataset", variables["STOKER_DATASET"])
        function = function_of(job)
        with SystemRelay(folder.path.name, rank, system_sampler(own_container=order.files is not None)):
            function(settings)
    except Exception as error:  # every exception is classified
        logging.getLogger("ray.train").setLevel(logging.CRITICAL + 1)  # the driver tells what the function raised
        raise FunctionFailed(classify_failure(error, folder.code, Heartbeat())) from None


def function_of(job: CodeJob) -> Callable[[dict[str, Any]], object]:
    """Import the function of a job, as one that takes the settings.

    Raises:
        TrainingFailed: there is no such function, or it needs other arguments.

    """
    assert job.entry.function is not None
    module, name = job.entry.function
    found = getattr(importlib.import_module(module), name, None)
    if not callable(found):
        what = f"has no '{name}'" if found is None else f"has '{name}', which cannot be called"
        raise TrainingFailed(Cause.USER_CODE, f"{module} {what}: entrypoint is {job.entrypoint}")
    parameters = list(inspect.signature(found).parameters.values())
    positional = [each for each in parameters if each.kind in POSITIONAL]
    needed = [each for each in parameters if each.default is each.empty and each.kind in (*POSITIONAL, *NAMED)]
    if len(needed) > 1 or any(each.kind in NAMED for each in needed):
        names = ", ".join(each.name for each in needed)
        message = f"{job.entrypoint} needs {names}; a training function takes one argument, its settings, or none"
        raise TrainingFailed(Cause.USER_CODE, message)
    return found if positional else lambda _: found()
