"""What the administrator of a cluster says about the runs on it, once for all who submit there.

The Helm chart puts it into the namespace of the jobs, as `profile.yaml` of a ConfigMap that submitters may read.
"""

from typing import Any

from pydantic import Field

from stoker.job.resources import Label
from stoker.job.section import Section, Size


class Share(Section):
    """What a pod gets, as request and as limit."""

    cpus: float = Field(gt=0)
    memory: Size


class Profile(Section):
    """The settings of the runs of one namespace."""

    version: str = ""
    """Of Stoker in that image: a client of another one may say what it does not understand."""

    image: str = Field(min_length=1)
    """Container image of every process, unless a job names another one."""

    image_pull_policy: str = "IfNotPresent"
    image_pull_secrets: list[str] = Field([])

    own_images: bool = True
    """Whether jobs may name another image."""

    service_account: str = "stoker-job"
    """Of the head's pod, which follows its own RayJob; workers have no token."""

    storage: str = ""
    """`s3://BUCKET/PREFIX` of the checkpoints; credentials come with `environment_secrets`."""

    storage_claim: str = ""
    """A volume of many writers for the checkpoints, in place of `storage`."""

    tracking_uri: str = Field(min_length=1)
    """MLflow, as the pods reach it."""

    login_secret: str = ""
    """Secret with MLflow's login, for submitters who look at pages; empty where they have one of their own."""

    environment_secrets: list[str] = Field([])
    """Secrets whose keys become environment variables of drivers and workers, by way of files: AWS_ACCESS_KEY_ID."""

    queue: Label | None = None
    """Kueue's queue of jobs that name none."""

    ttl_s: int = Field(600, ge=0)
    """Pods and RayJob of a run that has ended go after so many seconds; its record stays."""

    head: Share = Share(cpus=1, memory="3GiB")
    worker: Share = Share(cpus=2, memory="4GiB")
    """What a worker gets whose job does not say."""

    parallel_trials: int = Field(1, ge=1, le=4096)
    """Trials of a sweep that train at once, where it does not say; a sweep begins once all of their pods are there."""

    accelerators: dict[str, dict[str, str]] = Field({})
    """Node labels of each kind of GPU; default for kind K: nvidia.com/gpu.product: K."""

    pod: dict[str, Any] = Field({})
    """Laid over the spec of every pod: tolerations, node selectors, security settings."""

    pod_labels: dict[str, str] = Field({})
    """Further labels of every pod."""

    job_pod: list[str] = Field(["nodeSelector", "tolerations", "affinity", "topologySpreadConstraints"])
    """Keys of a pod's spec that jobs may set, too (`environment.pod`); those of `pod` win."""
