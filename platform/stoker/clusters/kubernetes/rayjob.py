"""From a job to the RayJob that runs it: a pure function, whose result `plan --render` prints."""

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import asdict

from stoker.clusters.kubernetes.config_maps import config_map_volume
from stoker.clusters.kubernetes.metadata import Manifest, metadata_of
from stoker.clusters.kubernetes.pods import INPUTS, PodTemplates, accelerator_of
from stoker.clusters.kubernetes.profile import Profile
from stoker.clusters.restart import FIRST_START, Restart
from stoker.clusters.run_inputs import driver_command, job_hash
from stoker.errors import JobError, Problem
from stoker.job.concurrency import planned_trials, workers_per_gpu
from stoker.job.own_code import AnyJob
from stoker.job.section import time_seconds
from stoker.tracking.run import RunHeader

RAY_VERSION = "2.60.0"
"""Of the image; KubeRay asks for it when Ray's tokens are enabled."""
QUEUE_LABEL = "kueue.x-k8s.io/queue-name"
PRIORITY_LABEL = "kueue.x-k8s.io/priority-class"
HEADER_ANNOTATION = "stoker.dev/header"
"""The run's header, as JSON."""
JOB_ANNOTATION = "stoker.dev/job"
"""Hash of the job, so that two jobs never share a submit key."""
ALL_INTERFACES = "0.0.0.0"  # noqa: S104 - the submitter pod must reach the dashboard, with Ray's token
DEADLINE_SLACK_S = 7 * 86400
"""The driver itself ends a run after its timeout, with a checkpoint. Kubernetes, whose clock also runs while a run
waits for its pods, only steps in if no driver does."""
PENDING_ROUNDS = 10
"""How often a run without a queue asks for its pods. KubeRay has one counter for these rounds and for losses of the
head: a driver that starts sets it to the run's own retries."""
MAX_DEADLINE_S = 2**31 - 1
"""KubeRay stores a 32-bit integer."""


def rayjob_manifest(
    job: AnyJob,
    header: RunHeader,
    namespace: str,
    profile: Profile,
    code: Mapping[str, bytes],
    restart: Restart = FIRST_START,
) -> Manifest:
    """Return the RayJob of a run.

    Args:
        job: the checked job.
        header: of the run.
        namespace: of the run.
        profile: the administrator's settings.
        code: the user's own files, by path.
        restart: the `resume` or `extend` that starts it.

    Raises:
        JobError: the administrator does not allow what the job asks for.

    """
    _require_allowed(job, profile)
    resources = job.resources
    most, workers_per_pod = worker_pods(job, profile)
    least = most if job.sweep else math.ceil(resources.least_workers / workers_per_pod)
    queued = bool(resources.queue or profile.queue)
    pods = PodTemplates(job, header, profile, config_map_volume(header.id, code), restart, workers_per_pod)
    spec: Manifest = {
        "submissionMode": "K8sJobMode",
        "entrypoint": driver_command(INPUTS),
        "shutdownAfterJobFinishes": True,
        "ttlSecondsAfterFinished": profile.ttl_s,
        "backoffLimit": resources.retries,
        "submitterPodTemplate": pods.submitter(),
        "rayClusterSpec": _ray_cluster_spec(pods, least, most, queued),
    }
    if resources.timeout:
        deadline_s = math.ceil(time_seconds(resources.timeout)) + DEADLINE_SLACK_S
        spec["activeDeadlineSeconds"] = min(deadline_s, MAX_DEADLINE_S)
    if profile.pending_limit_s and not queued:
        spec["preRunningDeadlineSeconds"] = pods_deadline_s(header.id, profile.pending_limit_s)
        spec["backoffLimit"] = max(resources.retries, PENDING_ROUNDS - 1)
    metadata = _metadata(job, header, namespace, profile)
    return {"apiVersion": "ray.io/v1", "kind": "RayJob", "metadata": metadata, "spec": spec}


def worker_pods(job: AnyJob, profile: Profile) -> tuple[int, int]:
    """Return the largest number of worker pods, and the number of workers that each has room for."""
    resources, trials = job.resources, planned_trials(job, profile.parallel_trials) if job.sweep else 1
    per_pod = resources.workers_per_node
    if per_pod is None and job.sweep and resources.gpus and resources.gpus < 1:
        per_pod = min(trials, workers_per_gpu(resources.gpus))
        return resources.most_workers * math.ceil(trials / per_pod), per_pod
    if per_pod is None:
        most = accelerator_of(job, profile).workers_per_node // max(1, int(resources.gpus or 1))
        most = min(max(most, 1), resources.most_workers)
        counts = (resources.most_workers, resources.least_workers)
        per_pod = next(number for number in range(most, 0, -1) if not any(count % number for count in counts))
    per_pod = min(per_pod, resources.most_workers * trials)
    return math.ceil(resources.most_workers * trials / per_pod), per_pod


def pods_deadline_s(run: str, limit_s: int) -> int:
    """Return after how many seconds without all of its pods a run gives back those that it has, and asks again.

    Two runs that each hold what the other one needs must not do so together, so each has another deadline, between once
    and twice the limit.
    """
    return limit_s + int(limit_s * int(hashlib.sha256(run.encode()).hexdigest()[:8], 16) / 2**32)


def _require_allowed(job: AnyJob, profile: Profile) -> None:
    if job.environment.image and not profile.own_images:
        raise JobError([Problem("environment.image", f"this cluster only runs {profile.image}; leave it out")])
    if refused := sorted(set(job.environment.pod) - set(profile.job_pod)):
        allowed = f"it allows {', '.join(profile.job_pod)}" if profile.job_pod else "it allows none"
        raise JobError(
            [Problem(f"environment.pod.{key}", f"this cluster does not let a job set it; {allowed}") for key in refused]
        )


def _ray_cluster_spec(pods: PodTemplates, least: int, most: int, queued: bool) -> Manifest:
    """Return the Ray cluster of a run, whose job starts once all of its pods are there.

    The driver of an elastic run asks for more of them, unless a queue has to admit all pods together.

    Args:
        pods: templates of its pods.
        least: number of worker pods without which the run does not train.
        most: number of worker pods where there is room.
        queued: whether the run waits in a queue.

    """
    workers = {
        "groupName": "workers",
        "replicas": most if queued else least,
        "minReplicas": least,
        "maxReplicas": most,
        "rayStartParams": {"num-cpus": str(pods.ray_cpus)},
        "template": pods.worker(),
    }
    head = {
        "rayStartParams": {"num-cpus": "0", "dashboard-host": ALL_INTERFACES},
        "template": pods.head(),
    }
    return {
        "rayVersion": RAY_VERSION,
        "authOptions": {"mode": "token"},
        "headGroupSpec": head,
        "workerGroupSpecs": [workers],
    }


def _metadata(job: AnyJob, header: RunHeader, namespace: str, profile: Profile) -> Manifest:
    metadata = metadata_of(header, namespace)
    if queue := job.resources.queue or profile.queue:
        metadata["labels"][QUEUE_LABEL] = queue
    if job.resources.priority:
        metadata["labels"][PRIORITY_LABEL] = job.resources.priority
    metadata["annotations"] = {HEADER_ANNOTATION: json.dumps(asdict(header)), JOB_ANNOTATION: job_hash(job)}
    return metadata
