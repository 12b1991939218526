"""The administrator's settings for the runs of a namespace, the same for everybody who submits there.

The Helm chart writes them into the namespace of the jobs, as `profile.yaml` in a ConfigMap that submitters may read.
"""

import math
from typing import Any

from pydantic import Field

from stoker.job.resources import MOST_GPUS, Label
from stoker.job.section import Section, Size


class Share(Section):
    """Resources of a pod, as request and as limit."""

    cpus: float = Field(gt=0)
    memory: Size


class DataClaim(Section):
    """An existing PersistentVolumeClaim and where the pods of a run see it."""

    claim: str = Field(min_length=1)
    path: str = Field("/data", pattern="^/.+")
    read_only: bool = True


class Accelerator(Section):
    """The nodes of one kind of GPU, and what a worker's pod needs to use them whole."""

    node_selector: dict[str, str] | None = None
    """Labels of the nodes; default for kind K of NVIDIA's: nvidia.com/gpu.product: K."""

    workers_per_node: int = Field(1, ge=1, le=MOST_GPUS)
    """Most workers of a job that share a pod, where the job names no number: the GPUs of a node."""

    gpu: str = Field("nvidia.com/gpu", min_length=1)
    """Kubernetes' resource of a GPU: amd.com/gpu, or a slice such as nvidia.com/mig-1g.10gb."""

    resources: dict[str, int | str] = Field({})
    """Further resources of a whole node, such as vpc.amazonaws.com/efa: 16; a pod gets the share of its GPUs. A
    quantity such as hugepages-2Mi: 5120Mi goes to each pod as it is."""

    tolerations: list[dict[str, Any]] = Field([])
    """Beside that of the taint with the name of the resource."""

    host_network: bool = False
    """Whether the pods use the node's own network."""

    annotations: dict[str, str] = Field({})
    """Of the pods, such as k8s.v1.cni.cncf.io/networks."""

    environment: dict[str, str] = Field({})
    """Variables of the workers, such as NCCL_IB_HCA; those of a job take precedence."""

    def share_of(self, gpus: int) -> dict[str, int | str]:
        """Return the further resources of a pod with so many of a node's GPUs."""
        part = min(1.0, gpus / self.workers_per_node)
        return {
            name: math.ceil(amount * part) if isinstance(amount, int) else amount
            for name, amount in self.resources.items()
        }


class Profile(Section):
    """The settings of the runs of one namespace."""

    version: str = ""
    """Of Stoker in that image; a client of another version may send settings that it does not know."""

    image: str = Field(min_length=1)
    """Container image of every process, unless a job names another one."""

    image_pull_policy: str = "IfNotPresent"
    image_pull_secrets: list[str] = Field([])

    own_images: bool = True
    """Whether jobs may name another image."""

    service_account: str = "stoker-job"
    """Of the head pod, which watches its own RayJob; workers have no token."""

    storage: str = ""
    """`s3://BUCKET/PREFIX` of the checkpoints; credentials come from `environment_secrets`."""

    storage_claim: str = ""
    """A ReadWriteMany volume for the checkpoints, instead of `storage`."""

    tracking_uri: str = Field(min_length=1)
    """MLflow, as the pods reach it."""

    login_secret: str = ""
    """Secret with MLflow's login, for submitters who open it; empty if they have a login of their own."""

    data: list[DataClaim] = Field([])
    """Volumes with the data of jobs, in the head and in every worker."""

    environment_secrets: list[str] = Field([])
    """Secrets whose keys become environment variables of drivers and workers, through files: AWS_ACCESS_KEY_ID."""

    queue: Label | None = None
    """Kueue's queue of jobs that name none."""

    ttl_s: int = Field(600, ge=0)
    """Seconds until the pods and the RayJob of a finished run are deleted; its record stays."""

    pending_limit_s: int = Field(900, ge=0)
    """How long a run without a queue keeps some of its pods while others find no place: once to twice as long, so that
    two runs that hold what the other one needs do not give it back at the same time; 0 for ever."""

    head: Share = Share(cpus=1, memory="3GiB")
    worker: Share = Share(cpus=2, memory="4GiB")
    """Resources of a worker whose job names none."""

    parallel_trials: int = Field(1, ge=1, le=4096)
    """Concurrent trials of a sweep whose job names no number; a sweep starts once all of their pods exist."""

    shared_memory: Size | None = None
    """Of /dev/shm in each worker pod, which is a part of its memory; default: half of it."""

    accelerators: dict[str, Accelerator] = Field({})
    """The nodes of each kind of GPU."""

    pod: dict[str, Any] = Field({})
    """Merged over the spec of every pod: tolerations, node selectors, security settings, volumes."""

    pod_labels: dict[str, str] = Field({})
    """Further labels of every pod."""

    pod_annotations: dict[str, str] = Field({})
    """Annotations of every pod."""

    environment: dict[str, str] = Field({})
    """Environment variables of every pod; those of a job take precedence."""

    job_pod: list[str] = Field(["nodeSelector", "tolerations", "affinity", "topologySpreadConstraints"])
    """Keys of a pod's spec that jobs may also set (`environment.pod`); those of `pod` take precedence."""
