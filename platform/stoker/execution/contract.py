"""What the client of a cluster and the driver of a run there call the things that pass between them."""

REQUEST = "stoker.dev/request"
"""Annotation of a RayJob: `cancel` or `pause`; `cancel 3 5` is for those trials of a sweep."""
STATUS = "stoker.dev/status"
PROGRESS = "stoker.dev/progress"
"""Annotations of a RayJob, or metadata of a job of a standing Ray: what the driver says, as JSON."""

RAYJOB, NAMESPACE = "STOKER_RAYJOB", "STOKER_NAMESPACE"
"""Environment variables: where a driver's own RayJob is."""
SUBMISSION = "STOKER_SUBMISSION"
"""Environment variable: the submission id of a driver's own job on a standing Ray."""
REOPEN = "STOKER_REOPEN"
"""Environment variable: the word of a `resume`. A run that has ended begins again where it has not heard it yet."""

MORE_TRIALS = "STOKER_MORE_TRIALS"
"""Environment variable: how many trials `extend` has added to those of a sweep's job, in all."""


def worker_name(rank: int) -> str:
    """Name a worker as the run's log does, at the beginning of each of its lines."""
    return f"worker {rank}"


def request_package(submission: str) -> str:
    """Name the package that carries a request to a job's driver on a standing Ray, as REQUEST does."""
    return f"stoker_request_{submission}.zip"
