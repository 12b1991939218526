"""Preparation of a sweep, once for all trials: load the data and make the measured choices."""

import os
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stoker.execution.worker_folder import write_files
from stoker.secret_files import load_secret_files


@dataclass(frozen=True)
class PreparedSweep:
    """The common start of all trials."""

    job: str
    """The resolved job of the sweep, as YAML."""
    fingerprint: str
    """Of the data."""
    failure: tuple[str, str] = ("", "")
    """Cause and message if the sweep cannot start."""


def prepare_sweep(job_text: str, code: Mapping[str, bytes], concurrent_workers: int) -> tuple[PreparedSweep, Any]:
    """Load the data and resolve the job of a sweep; runs as a Ray task.

    Args:
        job_text: the validated file.
        code: the user's own modules, by path.
        concurrent_workers: number of workers that will train at once on this machine.

    Returns:
        The resolved job, and the data for the object store; no data if the sweep cannot start.

    """
    from stoker.execution.causes import classify_failure
    from stoker.execution.heartbeat import Heartbeat

    with tempfile.TemporaryDirectory() as place:
        write_files(Path(place), code)
        try:
            return _prepare(job_text, place, concurrent_workers)
        except Exception as error:  # every exception is classified
            result = classify_failure(error, Path(place), Heartbeat())
            print(result.details, file=sys.stderr)  # noqa: T201 - the run's log
            return PreparedSweep("", "", (result.cause, result.message)), None


def _prepare(job_text: str, code: str, concurrent_workers: int) -> tuple[PreparedSweep, Any]:
    import ray

    from stoker.execution.start_model import start_model
    from stoker.execution.sweeps.sharing import to_shared
    from stoker.job.concurrency import machine_cpus
    from stoker.job.goals import best_metric
    from stoker.jobfile.loading import dump_job, parse_job
    from stoker.training.autotune import choose
    from stoker.training.parallel import Workers, choose_device, prepare_process
    from stoker.training.preparation import Prepared, prepare

    load_secret_files()
    job = parse_job(job_text, "job.yaml").task_job
    os.environ.update(job.environment.env)
    sys.path.insert(0, code)
    cpus = job.resources.cpus or max(1, machine_cpus() // concurrent_workers)
    prepare_process(cpus)
    if job.training.checkpoint.best is None and (best := best_metric(job)):
        checkpoint = job.training.checkpoint.model_copy(update={"best": best})
        job = job.model_copy(update={"training": job.training.model_copy(update={"checkpoint": checkpoint})})
    prepared = prepare(job, start=start_model(job))
    if cpus == 1:  # with one CPU per trial more threads cannot help, so they are not measured
        resources = prepared.job.resources.model_copy(update={"cpus": 1})
        prepared = Prepared(prepared.job.model_copy(update={"resources": resources}), prepared.data)
    device = choose_device(len(ray.get_runtime_context().get_accelerator_ids()["GPU"]))
    chosen = choose(prepared, Workers(device=device))
    text = dump_job(chosen.job.model_copy(update={"sweep": job.sweep}))
    return PreparedSweep(text, chosen.data.fingerprint), to_shared(chosen.data)
