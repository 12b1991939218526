"""From a job to the objects of Kubernetes that run it: a pure function, which `plan --render` prints."""

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from stoker.clusters.kubernetes.config_maps import inputs_volume
from stoker.clusters.kubernetes.metadata import Manifest, labels_of, metadata_of
from stoker.clusters.kubernetes.profile import Profile, Share
from stoker.clusters.restart import FIRST, Again
from stoker.errors import JobError, Problem
from stoker.execution.contract import MORE_TRIALS, NAMESPACE, RAYJOB, REOPEN
from stoker.job.concurrency import planned_trials, sharers
from stoker.job.job import Job
from stoker.job.section import size_bytes, time_seconds
from stoker.jobfile.loading import dump_job
from stoker.secret_files import FOLDER as SECRETS_FOLDER
from stoker.tracking.run import RunHeader

INPUTS = "/etc/stoker/run"
HOME = "/home/stoker"
SECRETS = "/etc/stoker/secrets"
TOKEN = "/var/run/secrets/kubernetes.io/serviceaccount"  # noqa: S105 - where every client of Kubernetes looks for it
TOKEN_S = 3600
"""The kubelet renews a token well before."""
VOLUME = "/var/lib/stoker"
ENTRYPOINT = f"python -m stoker.execution.entrypoint --inputs {INPUTS}"
RAY_VERSION = "2.60.0"
"""What the image holds; KubeRay asks for it where Ray's tokens are on."""
QUEUE_LABEL = "kueue.x-k8s.io/queue-name"
PRIORITY_LABEL = "kueue.x-k8s.io/priority-class"
HEADER = "stoker.dev/header"
"""Annotation: who the run is, as JSON."""
JOB = "stoker.dev/job"
"""Annotation: hash of the job, so that a key never stands for two of them."""
USER = 10001
"""Above the users of a node."""
HEADS_OWN = (RAYJOB, NAMESPACE, REOPEN, MORE_TRIALS)
"""Variables that only the head gets, and no job can set: Kubernetes refuses a name that is there twice."""
EVERYWHERE = "0.0.0.0"  # noqa: S104 - the submitter's pod must reach the dashboard, with Ray's token
AGENT_PORT = 52365
"""Of Ray's agent on each node, whose health KubeRay asks for, too."""
PROBES = {"readinessProbe": 10, "livenessProbe": 120}
"""How often in a row a pod may not answer. As KubeRay has them: a busy node is slow to answer, and not to be killed."""
DEADLINE_SLACK_S = 7 * 86400
"""The driver itself ends a run whose time is over, with a checkpoint; Kubernetes, whose clock also runs while a run
waits for its pods, steps in where nobody does."""
LONGEST_S = 2**31 - 1
"""What KubeRay can count."""


def rayjob_manifest(
    job: Job, header: RunHeader, namespace: str, profile: Profile, code: Mapping[str, bytes], again: Again = FIRST
) -> Manifest:
    """Describe a run as a RayJob.

    Args:
        job: the checked job.
        header: who the run is.
        namespace: where it goes.
        profile: what the cluster's administrator says.
        code: the user's own files, by path.
        again: for a run that goes on after its end.

    Raises:
        JobError: the job asks for what the administrator does not allow.

    """
    image = job.environment.image or profile.image
    if job.environment.image and not profile.own_images:
        raise JobError([Problem("environment.image", f"this cluster runs {profile.image} alone; leave it out")])
    if refused := sorted(set(job.environment.pod) - set(profile.job_pod)):
        allowed = f"it allows {', '.join(profile.job_pod)}" if profile.job_pod else "it allows none"
        raise JobError(
            [Problem(f"environment.pod.{key}", f"this cluster does not let a job set it; {allowed}") for key in refused]
        )
    resources, replicas, sharing = job.resources, job.resources.workers, 1
    if job.sweep:
        trials = planned_trials(job, profile.parallel_trials)
        sharing = min(trials, sharers(resources.gpus)) if resources.gpus else 1
        replicas *= math.ceil(trials / sharing)
    pods = _Pods(job, header, profile, image, inputs_volume(header.id, code), again, sharing)
    metadata = metadata_of(header, namespace)
    if queue := resources.queue or profile.queue:
        metadata["labels"][QUEUE_LABEL] = queue
    if resources.priority:
        metadata["labels"][PRIORITY_LABEL] = resources.priority
    metadata["annotations"] = {HEADER: json.dumps(asdict(header)), JOB: _hash(job)}
    spec: Manifest = {
        "submissionMode": "K8sJobMode",
        "entrypoint": ENTRYPOINT,
        "shutdownAfterJobFinishes": True,
        "ttlSecondsAfterFinished": profile.ttl_s,
        "backoffLimit": resources.retries,
        "submitterPodTemplate": pods.submitter(),
        "rayClusterSpec": {
            "rayVersion": RAY_VERSION,
            "authOptions": {"mode": "token"},
            "headGroupSpec": {
                "rayStartParams": {"num-cpus": "0", "dashboard-host": EVERYWHERE},
                "template": pods.head(),
            },
            "workerGroupSpecs": [
                {
                    "groupName": "workers",
                    "replicas": replicas,
                    "minReplicas": replicas,
                    "maxReplicas": replicas,
                    "rayStartParams": {"num-cpus": str(pods.cpus)},
                    "template": pods.worker(),
                }
            ],
        },
    }
    if resources.timeout:
        deadline_s = math.ceil(time_seconds(resources.timeout)) + DEADLINE_SLACK_S
        spec["activeDeadlineSeconds"] = min(deadline_s, LONGEST_S)
    if job.environment.packages:
        spec["runtimeEnvYAML"] = json.dumps({"pip": list(job.environment.packages)})  # JSON is YAML
    return {"apiVersion": "ray.io/v1", "kind": "RayJob", "metadata": metadata, "spec": spec}


class _Pods:
    """The pod templates of one run."""

    def __init__(
        self,
        job: Job,
        header: RunHeader,
        profile: Profile,
        image: str,
        inputs: Manifest,
        again: Again,
        sharing: int,
    ) -> None:
        self._job = job
        self._sharing = sharing
        self._profile = profile
        self._image = image
        self._labels = {**profile.pod_labels, **labels_of(header)}
        self._run = header.id
        self._again = again
        self._inputs = inputs
        self.cpus = (job.resources.cpus or 1) * sharing if job.sweep else 1
        """In Ray's eyes; just what the workers take that are to be in one pod, or Ray would put more of them there."""

    def submitter(self) -> Manifest:
        """Describe the pod that tells the head's Ray of the run, and prints what the driver prints."""
        container = self._container("ray-job-submitter", Share(cpus=0.25, memory="512MiB"))
        return self._template([container], [_empty("tmp")], restartPolicy="Never")

    def head(self) -> Manifest:
        """Describe the pod of Ray's own processes and of the driver."""
        container = self._container("ray-head", self._profile.head)
        ports = {"gcs-server": 6379, "dashboard": 8265, "client": 10001}
        container["ports"] = [{"name": name, "containerPort": port} for name, port in ports.items()]
        container["env"] += [
            {"name": RAYJOB, "value": self._run},
            {"name": NAMESPACE, "valueFrom": {"fieldRef": {"fieldPath": "metadata.namespace"}}},
        ]
        container["env"] += [{"name": name, "value": value} for name, value in self._again.variables.items()]
        container["volumeMounts"].append({"name": "inputs", "mountPath": INPUTS, "readOnly": True})
        container["volumeMounts"].append({"name": "token", "mountPath": TOKEN, "readOnly": True})
        return self._template([container], [*self._volumes(), self._inputs, _token()])

    def worker(self) -> Manifest:
        """Describe the pod of one worker, or of the trials that share a GPU."""
        resources, given = self._job.resources, self._profile.worker
        share = Share(cpus=resources.cpus or given.cpus, memory=resources.memory or given.memory)
        container = self._container("ray-worker", share, self._sharing)
        more: Manifest = {}
        gpus = 1 if resources.gpus is None and resources.accelerator else resources.gpus
        if gpus:
            for limits in container["resources"].values():
                limits["nvidia.com/gpu"] = math.ceil(gpus)
            more["tolerations"] = [{"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}]
        if resources.accelerator:
            kinds = self._profile.accelerators
            more["nodeSelector"] = kinds.get(resources.accelerator, {"nvidia.com/gpu.product": resources.accelerator})
        return self._template([container], self._volumes(), **more)

    def _template(self, containers: list[Manifest], volumes: list[Manifest], **more: Any) -> Manifest:
        spec: Manifest = {
            "automountServiceAccountToken": False,
            "enableServiceLinks": False,
            "securityContext": {
                "runAsNonRoot": True,
                "runAsUser": USER,
                "runAsGroup": USER,
                "fsGroup": USER,
                "fsGroupChangePolicy": "OnRootMismatch",
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "serviceAccountName": self._profile.service_account,  # with it the cloud's identity, and no token
            "containers": containers,
            "volumes": volumes,
            **more,
        }
        if secrets := self._profile.image_pull_secrets:
            spec["imagePullSecrets"] = [{"name": name} for name in secrets]
        return {
            "metadata": {"labels": self._labels},
            "spec": laid_over(self._profile.pod, laid_over(self._job.environment.pod, spec)),
        }

    def _container(self, name: str, share: Share, sharing: int = 1) -> Manifest:
        profile = self._profile
        amount = {"cpu": f"{share.cpus * sharing:g}", "memory": str(size_bytes(share.memory) * sharing)}
        container: Manifest = {
            "name": name,
            "image": self._image,
            "imagePullPolicy": profile.image_pull_policy,
            "env": [{"name": key, "value": value} for key, value in self._variables().items()],
            "resources": {"requests": dict(amount), "limits": dict(amount)},
            "securityContext": {
                "allowPrivilegeEscalation": False,
                "capabilities": {"drop": ["ALL"]},
                "readOnlyRootFilesystem": True,
            },
            "volumeMounts": [{"name": "tmp", "mountPath": "/tmp"}],  # noqa: S108 - the pod's own
        }
        if name == "ray-job-submitter":
            return container
        for probe, failures in PROBES.items():
            container[probe] = {"httpGet": {"path": "/api/healthz", "port": AGENT_PORT}, "periodSeconds": 5}
            container[probe] |= {"initialDelaySeconds": 10, "timeoutSeconds": 5, "failureThreshold": failures}
        container["volumeMounts"].append({"name": "home", "mountPath": HOME})
        if profile.storage_claim:
            container["volumeMounts"].append({"name": "storage", "mountPath": VOLUME})
        if profile.environment_secrets:
            container["volumeMounts"].append({"name": "secrets", "mountPath": SECRETS, "readOnly": True})
        return container

    def _variables(self) -> dict[str, str]:
        secrets = {SECRETS_FOLDER: SECRETS} if self._profile.environment_secrets else {}
        given = self._job.environment.env
        return {
            **{name: value for name, value in given.items() if name not in HEADS_OWN},
            **secrets,
            "HOME": HOME,
            "USER": "stoker",
            "STOKER_HOME": f"{HOME}/.stoker",
            "STOKER_STORAGE": VOLUME if self._profile.storage_claim else self._profile.storage,
            "MLFLOW_TRACKING_URI": self._profile.tracking_uri,
            "PYTHONUNBUFFERED": "1",
            "GIT_PYTHON_REFRESH": "quiet",
            "RAY_USAGE_STATS_ENABLED": "0",
            "RAY_SCHEDULER_EVENTS": "0",  # what a run waits for, its status says
        }

    def _volumes(self) -> list[Manifest]:
        volumes = [_empty("tmp"), _empty("home")]
        if claim := self._profile.storage_claim:
            volumes.append({"name": "storage", "persistentVolumeClaim": {"claimName": claim}})
        if secrets := self._profile.environment_secrets:
            sources = [{"secret": {"name": name}} for name in secrets]
            volumes.append({"name": "secrets", "projected": {"sources": sources}})
        return volumes


def laid_over(above: Any, below: Any) -> Any:
    """Lay one tree over another: mappings are joined key by key, everything else is replaced."""
    if not isinstance(above, dict) or not isinstance(below, dict):
        return above
    return {**below, **{key: laid_over(value, below[key]) if key in below else value for key, value in above.items()}}


def _empty(name: str) -> Manifest:
    return {"name": name, "emptyDir": {}}


def _token() -> Manifest:
    """Describe what automounting would bring, for one container alone."""
    sources: list[Manifest] = [
        {"serviceAccountToken": {"path": "token", "expirationSeconds": TOKEN_S}},
        {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
    ]
    return {"name": "token", "projected": {"sources": sources}}


def _hash(job: Job) -> str:
    return hashlib.sha256(dump_job(job).encode()).hexdigest()
