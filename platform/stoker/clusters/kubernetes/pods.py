"""The pod templates of a RayJob: submitter, head and worker."""

import math
from typing import Any

from stoker.clusters.kubernetes.metadata import Manifest, labels_of
from stoker.clusters.kubernetes.profile import Accelerator, Profile, Share
from stoker.clusters.restart import Restart
from stoker.execution.contract import MORE_TRIALS, NAMESPACE, NODE, PACKAGES, PACKAGES_FOLDER, POD, RAYJOB, REOPEN
from stoker.execution.leaving import LEAVING
from stoker.execution.packages import PLATFORM_SITE, SITE
from stoker.job.concurrency import planned_trials
from stoker.job.own_code import AnyJob, is_function
from stoker.job.section import size_bytes
from stoker.secret_files import FOLDER_VARIABLE as SECRETS_FOLDER
from stoker.tracking.run import RunHeader

INPUTS = "/etc/stoker/run"
HOME = "/home/stoker"
PACKAGES_PATH = f"{HOME}/packages"
SECRETS = "/etc/stoker/secrets"
STORAGE = "/var/lib/stoker"
TOKEN = "/var/run/secrets/kubernetes.io/serviceaccount"  # noqa: S105 - the path where Kubernetes clients look for it
TOKEN_S = 3600
"""The kubelet renews a token well before it expires."""
USER = 10001
"""Above the user ids of a node."""
HEAD_ONLY = (RAYJOB, NAMESPACE, POD, REOPEN, MORE_TRIALS)
"""Variables of the head that no job can set: Kubernetes refuses a duplicate name."""
AGENT_PORT = 52365
"""Of Ray's agent on each node, which also answers KubeRay's health checks."""
PROBES = {"readinessProbe": 10, "livenessProbe": 120}
"""Consecutive failures allowed; KubeRay's own numbers: a busy node answers slowly and must not be killed."""
LEAVING_FILE = f"{HOME}/leaving"
LEAVE_S, ENDING_S = 45, 15
"""How long a worker pod that is taken away waits for a checkpoint, and how long Ray then takes to end."""
RAY_TRAIN_BYTES = 1 << 30
"""More for the head of a training function: Ray Train's controller and its helpers run there."""
TRIAL_BYTES = 256 << 20
"""And for each trial of a sweep: the process that starts the controller."""
SUBMITTER, HEAD, WORKER = OWN_CONTAINERS = ("ray-job-submitter", "ray-head", "ray-worker")
JOINED = {
    "containers": "name",
    "env": "name",
    "imagePullSecrets": "name",
    "initContainers": "name",
    "tolerations": "",
    "volumeMounts": "mountPath",
    "volumes": "name",
}
"""Lists of a pod's spec whose items are joined, and the key by which they are; empty: only equal items are."""


ROUNDING = 1e-6
"""Three workers with 0.3333334 of a GPU share one."""


def accelerator_of(job: AnyJob, profile: Profile) -> Accelerator:
    """Return the administrator's settings for the kind of GPU that a job asks for."""
    return profile.accelerators.get(job.resources.accelerator or "", Accelerator())


class PodTemplates:
    """Pod templates of one run.

    Args:
        job: the checked job.
        header: of the run.
        profile: the administrator's settings.
        inputs: volume with the run's ConfigMaps.
        restart: the `resume` or `extend` that starts it.
        workers_per_pod: workers that share a pod.

    """

    def __init__(
        self, job: AnyJob, header: RunHeader, profile: Profile, inputs: Manifest, restart: Restart, workers_per_pod: int
    ) -> None:
        self._job = job
        self._profile = profile
        self._inputs = inputs
        self._restart = restart
        self._workers_per_pod = workers_per_pod
        self._accelerator = accelerator_of(job, profile)
        self._run = header.id
        self._image = job.environment.image or profile.image
        self._labels = {**profile.pod_labels, **labels_of(header)}
        self.ray_cpus = workers_per_pod * ((job.resources.cpus or 1) if job.sweep else 1)
        """CPUs that Ray counts in a worker pod: what its own workers request, or Ray would place others there, too."""

    def submitter(self) -> Manifest:
        """Return the pod that submits the run to Ray and prints what the driver prints."""
        container = self._container(SUBMITTER, Share(cpus=1, memory="512MiB"))
        container["resources"]["requests"] = {"cpu": "10m", "memory": "128Mi"}  # it finds a place beside a run's others
        return self._template([container], [_empty("tmp")], restartPolicy="Never")

    def head(self) -> Manifest:
        """Return the pod of Ray's own processes and the driver."""
        more = self._ray_train_bytes() if is_function(self._job) else 0
        container = self._container(HEAD, self._profile.head, more_bytes=more)
        ports = {"gcs-server": 6379, "dashboard": 8265, "client": 10001}
        container["ports"] = [{"name": name, "containerPort": port} for name, port in ports.items()]
        container["env"] += [
            {"name": RAYJOB, "value": self._run},
            _own_field(POD, "metadata.name"),
            _own_field(NAMESPACE, "metadata.namespace"),
        ]
        container["env"] += [{"name": name, "value": value} for name, value in self._restart.variables.items()]
        container["volumeMounts"].append({"name": "inputs", "mountPath": INPUTS, "readOnly": True})
        container["volumeMounts"].append({"name": "token", "mountPath": TOKEN, "readOnly": True})
        return self._template([container], [*self._volumes(), self._inputs, _token()], **self._packages(container))

    def _ray_train_bytes(self) -> int:
        if not self._job.sweep:
            return RAY_TRAIN_BYTES
        return (RAY_TRAIN_BYTES + TRIAL_BYTES) * planned_trials(self._job, self._profile.parallel_trials)

    def worker(self) -> Manifest:
        """Return the pod of the workers that share it."""
        resources, default, kind = self._job.resources, self._profile.worker, self._accelerator
        share = Share(cpus=resources.cpus or default.cpus, memory=resources.memory or default.memory)
        container = self._container(WORKER, share, self._workers_per_pod)
        known = {each["name"] for each in container["env"]}
        container["env"] += [{"name": n, "value": v} for n, v in kind.environment.items() if n not in known]
        more = self._packages(container)
        leave = ["python", "-m", "stoker.execution.leaving", str(LEAVE_S)]
        container["env"].append({"name": LEAVING, "value": LEAVING_FILE})
        container["env"] += [_own_field(NODE, "spec.nodeName"), _own_field(POD, "metadata.name")]
        container["lifecycle"] = {"preStop": {"exec": {"command": leave}}}
        more["terminationGracePeriodSeconds"] = LEAVE_S + ENDING_S
        container["volumeMounts"].append({"name": "shared-memory", "mountPath": "/dev/shm"})  # noqa: S108
        gpus = 1 if resources.gpus is None and resources.accelerator else resources.gpus
        if gpus:
            for limits in container["resources"].values():
                limits[kind.gpu] = math.ceil(gpus * self._workers_per_pod - ROUNDING)
                limits |= kind.share_of(self._workers_per_pod * max(1, int(gpus)))
            taint = {"key": kind.gpu, "operator": "Exists", "effect": "NoSchedule"}
            more["tolerations"] = [taint, *kind.tolerations]
        if resources.accelerator:
            is_nvidia = kind.gpu.startswith("nvidia.com/")
            product = {"nvidia.com/gpu.product": resources.accelerator} if is_nvidia else {}
            more["nodeSelector"] = product if kind.node_selector is None else kind.node_selector
        if resources.accelerator and kind.host_network:
            more |= {"hostNetwork": True, "dnsPolicy": "ClusterFirstWithHostNet"}
        memory = int(container["resources"]["limits"]["memory"])
        template = self._template([container], [*self._volumes(), self._shared_memory(memory)], **more)
        if resources.accelerator:
            template["metadata"]["annotations"] |= kind.annotations
        return template

    def _shared_memory(self, memory: int) -> Manifest:
        """Return the volume of /dev/shm, where workers of one node exchange data; it counts as memory of the pod."""
        own = self._profile.shared_memory
        limit = size_bytes(own) if own else memory // 2
        return {"name": "shared-memory", "emptyDir": {"medium": "Memory", "sizeLimit": str(limit)}}

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
            "serviceAccountName": self._profile.service_account,  # for the cloud's identity; it brings no token
            "containers": containers,
            "volumes": volumes,
            **more,
        }
        if secrets := self._profile.image_pull_secrets:
            spec["imagePullSecrets"] = [{"name": name} for name in secrets]
        return {
            "metadata": {"labels": self._labels, "annotations": dict(self._profile.pod_annotations)},
            "spec": merged(self._profile.pod, merged(self._job.environment.pod, spec)),
        }

    def _container(self, name: str, share: Share, shares: int = 1, more_bytes: int = 0) -> Manifest:
        profile = self._profile
        memory = size_bytes(share.memory) * shares + more_bytes
        amount = {"cpu": f"{share.cpus * shares:g}", "memory": str(memory)}
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
        if name == SUBMITTER:
            return container
        for probe, failures in PROBES.items():
            container[probe] = {"httpGet": {"path": "/api/healthz", "port": AGENT_PORT}, "periodSeconds": 5}
            container[probe] |= {"initialDelaySeconds": 10, "timeoutSeconds": 5, "failureThreshold": failures}
        container["volumeMounts"].append({"name": "home", "mountPath": HOME})
        if profile.storage_claim:
            container["volumeMounts"].append({"name": "storage", "mountPath": STORAGE})
        for number, data in enumerate(profile.data):
            mount = {"name": f"data-{number}", "mountPath": data.path, "readOnly": data.read_only}
            container["volumeMounts"].append(mount)
        if profile.environment_secrets:
            container["volumeMounts"].append({"name": "secrets", "mountPath": SECRETS, "readOnly": True})
        return container

    def _packages(self, container: Manifest) -> Manifest:
        """Return the container that installs the job's packages for this one, as a field of the pod's spec."""
        if not self._job.environment.packages:
            return {}
        keys = ("image", "imagePullPolicy", "resources", "securityContext")
        mounts = [each for each in container["volumeMounts"] if each["name"] in ("tmp", "home")]
        command = ["python", "-m", "stoker.execution.packages", PACKAGES_PATH, *self._job.environment.packages]
        variables = [{"name": name, "value": value} for name, value in self._variables().items()]
        own = {"name": PACKAGES, "command": command, "env": variables, "volumeMounts": mounts}
        return {"initContainers": [own | {key: container[key] for key in keys}]}

    def _variables(self) -> dict[str, str]:
        more = {SECRETS_FOLDER: SECRETS} if self._profile.environment_secrets else {}
        chosen = {**self._profile.environment, **self._job.environment.env}
        if self._job.environment.packages:
            paths = (f"{PACKAGES_PATH}/{SITE}", f"{PACKAGES_PATH}/{PLATFORM_SITE}", chosen.get("PYTHONPATH", ""))
            more |= {PACKAGES_FOLDER: PACKAGES_PATH, "PYTHONPATH": ":".join(filter(None, paths))}
        return {
            "PIP_RETRIES": "1",  # a package that cannot be had is reported at once
            **{name: value for name, value in chosen.items() if name not in HEAD_ONLY},
            **more,
            "HOME": HOME,
            "USER": "stoker",
            "STOKER_HOME": f"{HOME}/.stoker",
            "STOKER_STORAGE": STORAGE if self._profile.storage_claim else self._profile.storage,
            "MLFLOW_TRACKING_URI": self._profile.tracking_uri,
            "PYTHONUNBUFFERED": "1",
            "GIT_PYTHON_REFRESH": "quiet",
            "RAY_USAGE_STATS_ENABLED": "0",
            "RAY_SCHEDULER_EVENTS": "0",  # the run's status shows what it waits for
        }

    def _volumes(self) -> list[Manifest]:
        volumes = [_empty("tmp"), _empty("home")]
        if claim := self._profile.storage_claim:
            volumes.append({"name": "storage", "persistentVolumeClaim": {"claimName": claim}})
        for number, data in enumerate(self._profile.data):
            claim_of = {"claimName": data.claim, "readOnly": data.read_only}
            volumes.append({"name": f"data-{number}", "persistentVolumeClaim": claim_of})
        if secrets := self._profile.environment_secrets:
            sources = [{"secret": {"name": name}} for name in secrets]
            volumes.append({"name": "secrets", "projected": {"sources": sources}})
        return volumes


def merged(overlay: Any, base: Any, key: str = "") -> Any:
    """Return a tree merged over another one, as Kubernetes merges pods.

    Mappings are merged key by key, lists of named items by name, tolerations are added; everything else is replaced.
    A container of the overlay that has the name of one of a run's own containers is only merged into that one.
    """
    if isinstance(overlay, dict) and isinstance(base, dict):
        return {
            **base,
            **{each: merged(value, base[each], each) if each in base else value for each, value in overlay.items()},
        }
    if key in JOINED and isinstance(overlay, list) and isinstance(base, list):
        name = JOINED[key]
        more = {str(each.get(name) if name else each): each for each in overlay}
        own = {str(each.get(name) if name else each): each for each in base}
        deep = key in ("containers", "initContainers")  # a volume with another source is another volume
        joined = [merged(more.get(each, {}), item) if deep else more.get(each, item) for each, item in own.items()]
        return joined + [item for each, item in more.items() if each not in own and each not in OWN_CONTAINERS]
    return overlay


def _empty(name: str) -> Manifest:
    return {"name": name, "emptyDir": {}}


def _token() -> Manifest:
    """Return the volume that automounting would add, for one container only."""
    sources: list[Manifest] = [
        {"serviceAccountToken": {"path": "token", "expirationSeconds": TOKEN_S}},
        {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
    ]
    return {"name": "token", "projected": {"sources": sources}}


def _own_field(name: str, path: str) -> Manifest:
    """Return an environment variable with a field of the pod itself."""
    return {"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}}
