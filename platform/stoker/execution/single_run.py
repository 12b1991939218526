"""A job with one worker: one actor on the Ray at hand, watched until it ends or somebody cancels."""

import threading
import time
from pathlib import Path

import ray
from ray.actor import ActorHandle
from ray.exceptions import RayError

from stoker.execution.causes import cause_of
from stoker.execution.worker import Worker, WorkerResult

CANCEL_PATIENCE_S = 10.0
"""A worker that was asked to end has this long to say goodbye."""
POLL_S = 0.1


def start_worker(gpus: int | None) -> ActorHandle:
    """Start the worker's process, which loads its libraries at once.

    Args:
        gpus: GPUs to give it; None gives it one if there is one.

    """
    if gpus is None:
        gpus = min(1, int(ray.cluster_resources().get("GPU", 0)))
    worker = ray.remote(num_cpus=0, num_gpus=gpus)(Worker).remote()
    worker.warm_up.remote()
    return worker


def run_single(worker: ActorHandle, folder: Path, cancelled: threading.Event) -> WorkerResult:
    """Let the worker train a run and return how it ended."""
    result = worker.run.remote(str(folder))
    deadline = 0.0
    try:
        while not ray.wait([result], timeout=POLL_S)[0]:
            if cancelled.is_set():
                deadline = deadline or time.monotonic() + CANCEL_PATIENCE_S
                if time.monotonic() > deadline:
                    ray.kill(worker)
                    return WorkerResult("cancelled")
        ended: WorkerResult = ray.get(result)
    except RayError as error:
        return WorkerResult("failed", cause_of(error), f"the worker process died ({type(error).__name__})")
    return ended
