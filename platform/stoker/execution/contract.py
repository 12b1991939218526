"""Names that cluster clients and drivers share: annotations, metadata keys, environment variables, packages."""

from stoker.tracking.trials import trial_number

REQUEST = "stoker.dev/request"
"""Annotation of a RayJob: `cancel`, `pause`, or `cancel 3 5` for single trials of a sweep."""
STATUS = "stoker.dev/status"
PROGRESS = "stoker.dev/progress"
"""Annotations of a RayJob, or metadata keys of a submitted Ray job: the driver's status and progress, as JSON.
The status of a RayJob also has `pod`, the name of the driver's pod, and `since`, when that driver began."""
RETRIED_AT = "stoker.dev/retried-at"
"""Annotation of a RayJob: the checkpoint's step when KubeRay's counter of lost drivers was last renewed."""

RAYJOB, NAMESPACE, POD = "STOKER_RAYJOB", "STOKER_NAMESPACE", "STOKER_POD"
"""Environment variables: name and namespace of the driver's own RayJob, and the name of its pod."""
NODE = "STOKER_NODE"
"""Environment variable of a worker's pod: the name of its Kubernetes node."""
SUBMISSION = "STOKER_SUBMISSION"
"""Environment variable: submission id of the driver's own Ray job."""
REOPEN = "STOKER_REOPEN"
"""Environment variable: token of a `resume`. An ended run starts again if it has not seen this token yet."""

MORE_TRIALS = "STOKER_MORE_TRIALS"
"""Environment variable: total number of trials that `extend` has added to a sweep's job."""

PACKAGES = "packages"
"""Name of the container that installs a job's packages before Ray starts in a pod."""
PACKAGES_FOLDER = "STOKER_PACKAGES"
"""Environment variable: folder of these packages."""
UNINSTALLED = "its packages could not be installed"


def worker_name(rank: int, run: str = "") -> str:
    """Return the name that prefixes each of a worker's lines in the log; of a trial's worker with the trial's number.

    Args:
        rank: of the worker.
        run: id of its run or trial.

    """
    number = trial_number(run)
    return f"worker {rank}" if number is None else f"trial {number} worker {rank}"


def request_package(submission: str) -> str:
    """Return the name of the package that carries a request to a submitted job's driver."""
    return f"stoker_request_{submission}.zip"
