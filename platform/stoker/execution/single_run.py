"""A job with one worker: one actor on the Ray at hand, watched until it ends or somebody cancels."""

import threading
import time
from pathlib import Path

import ray
from ray.exceptions import RayError

from stoker.errors import Cause
from stoker.execution.worker import WorkerResult, run_worker

CANCEL_PATIENCE_S = 10.0
"""A worker that was asked to end has this long to say goodbye."""
POLL_S = 0.1


def run_single(folder: Path, cpus: int, gpus: int, cancelled: threading.Event) -> WorkerResult:
    """Run a job's worker and return how it ended."""
    worker = ray.remote(num_cpus=cpus, num_gpus=gpus, max_retries=0)(run_worker)
    result = worker.remote(str(folder), gpus)
    deadline = 0.0
    try:
        while not ray.wait([result], timeout=POLL_S)[0]:
            if cancelled.is_set():
                deadline = deadline or time.monotonic() + CANCEL_PATIENCE_S
                if time.monotonic() > deadline:
                    ray.cancel(result, force=True)
                    return WorkerResult("cancelled")
        ended: WorkerResult = ray.get(result)
    except RayError as error:
        out_of_memory = type(error).__name__ == "OutOfMemoryError"
        cause = Cause.OOM_HOST if out_of_memory else Cause.INFRASTRUCTURE
        message = "the worker process was killed" if not out_of_memory else "the worker used up the machine's memory"
        return WorkerResult("failed", cause, f"{message} ({type(error).__name__})")
    return ended
