"""The engines by name, of which a run's task names one."""

from collections.abc import Callable

from stoker.execution.causes import classify_failure
from stoker.execution.data_cache import DataCache
from stoker.execution.engines.engine import Assignment, Engine, FailedEngine
from stoker.execution.engines.script_engine import ScriptEngine
from stoker.execution.engines.torch_engine import TorchEngine
from stoker.execution.heartbeat import Heartbeat
from stoker.execution.resolved_job import load_run_job
from stoker.job.job import Job
from stoker.job.own_code import CodeJob
from stoker.job.task import TASKS, EngineName

ENGINES: dict[EngineName, Callable[[Assignment, Job, Heartbeat, DataCache], Engine]] = {"torch": TorchEngine}
"""Of jobs that have a task."""


def engine_of(assignment: Assignment, heartbeat: Heartbeat, cache: DataCache) -> Engine:
    """Return the engine of a run's task; for a run whose job cannot be loaded, an engine that fails.

    Args:
        assignment: the worker's part of the attempt.
        heartbeat: receives progress, and holds the request to stop.
        cache: datasets that this process has loaded.

    """
    try:
        job = load_run_job(assignment.folder)
        if isinstance(job, CodeJob):
            return ScriptEngine(assignment, job, heartbeat, cache)
        return ENGINES[TASKS[job.task].engine](assignment, job, heartbeat, cache)
    except Exception as error:  # every exception is classified
        return FailedEngine(classify_failure(error, assignment.folder.code, heartbeat))
