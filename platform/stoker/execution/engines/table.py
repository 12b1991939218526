"""The engines by name, of which a run's task names one; each is imported when it is needed."""

from pkgutil import resolve_name

from stoker.execution.data_cache import DataCache
from stoker.execution.engines.engine import Assignment, Engine, FailedEngine
from stoker.execution.heartbeat import Heartbeat
from stoker.execution.resolved_job import load_run_job
from stoker.job.own_code import AnyJob, CodeJob
from stoker.job.task import TASKS, EngineName

ENGINES: dict[EngineName, str] = {"torch": "stoker.execution.engines.torch_engine:TorchEngine"}
"""Module and class, for jobs that have a task."""
SCRIPT_ENGINE = "stoker.execution.engines.script_engine:ScriptEngine"
LIBRARIES = ("stoker.execution.engines.torch_engine", "torch._dynamo")
"""Modules of a task, to be imported before its first step; every torch optimizer imports torch's compiler."""


def libraries_of(job: AnyJob) -> tuple[str, ...]:
    """Return the modules that a worker of a job imports while it waits; a script imports its own in its own process."""
    return () if isinstance(job, CodeJob) else LIBRARIES


def engine_of(assignment: Assignment, heartbeat: Heartbeat, cache: DataCache) -> Engine:
    """Return the engine of a run's task; for a run whose job cannot be loaded, an engine that fails.

    Args:
        assignment: the worker's part of the attempt.
        heartbeat: receives progress, and holds the request to stop.
        cache: datasets that this process has loaded.

    """
    try:
        job = load_run_job(assignment.folder)
        place = SCRIPT_ENGINE if isinstance(job, CodeJob) else ENGINES[TASKS[job.task].engine]
        engine: Engine = resolve_name(place)(assignment, job, heartbeat, cache)
        return engine
    except Exception as error:  # every exception is classified
        from stoker.execution.causes import classify_failure

        return FailedEngine(classify_failure(error, assignment.folder.code, heartbeat))
