"""Whether Kueue knows the queue and the priority that a job names."""

from stoker.clusters.kubernetes.api import KubeApi
from stoker.clusters.kubernetes.metadata import Manifest
from stoker.clusters.kubernetes.rayjob import PRIORITY_LABEL, QUEUE_LABEL
from stoker.errors import JobError, Problem


def require_known_queue(api: KubeApi, cluster: str, rayjob: Manifest) -> None:
    """Raise if Kueue does not know a run's queue or priority, for which the run would wait for ever."""
    labels = rayjob["metadata"]["labels"]
    queue, priority = labels.get(QUEUE_LABEL), labels.get(PRIORITY_LABEL)
    if priority and not queue:
        cure = "name a queue, too (resources.queue), or leave the priority out"
        raise JobError([Problem("resources.priority", f"it orders the jobs of a queue, and this job has none; {cure}")])
    if not queue:
        return
    queues = api.queues()
    if queues is not None and queue not in queues:
        raise JobError([_unknown("resources.queue", f"cluster '{cluster}' has no queue '{queue}'", queues)])
    priorities = api.priorities() if priority else None
    if priorities is not None and priority not in priorities:
        what = f"cluster '{cluster}' has no priority '{priority}'"
        raise JobError([_unknown("resources.priority", what, priorities)])


def _unknown(key: str, what: str, names: list[str]) -> Problem:
    known = f"it has {', '.join(names)}" if names else "it has none"
    return Problem(key, f"{what}; {known}")
