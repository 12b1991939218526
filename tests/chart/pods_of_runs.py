"""Prints the pods of runs on a rendered chart, as objects of their own: what scans a RayJob does not look into it."""

import sys
from pathlib import Path

import yaml

from stoker.clusters.kubernetes.profile import Profile
from stoker.clusters.kubernetes.rayjob import rayjob_manifest
from stoker.jobfile.loading import parse_job
from stoker.tracking.run import RunHeader

JOBS = {
    "small": "{task: image-classification, dataset: digits}",
    "large": "{task: image-classification, dataset: digits, resources: {workers: 2, gpus: 1, memory: 32GiB}}",
}


def main() -> None:
    """Print the submitter, the head and a worker of each job."""
    rendered = [each for each in yaml.safe_load_all(Path(sys.argv[1]).read_text(encoding="utf-8")) if each]
    (words,) = [each["data"]["profile.yaml"] for each in rendered if each["metadata"]["name"] == "stoker-profile"]
    profile = Profile.model_validate(yaml.safe_load(words))
    for name, text in JOBS.items():
        job = parse_job(f"{text[:-1]}, name: {name}}}", "job.yaml").job
        header = RunHeader(f"{name}-0a1b2c3d", name, job.task, "cnn", "digits", 1.0, 1, "", name)
        spec = rayjob_manifest(job, header, "stoker", profile, {})["spec"]
        cluster = spec["rayClusterSpec"]
        print_object(f"{name}-submitter", "batch/v1", "Job", {"template": spec["submitterPodTemplate"]})
        groups = [("head", cluster["headGroupSpec"]), *(("worker", each) for each in cluster["workerGroupSpecs"])]
        for node, group in groups:
            template = group["template"]
            labels = {**template["metadata"]["labels"], "ray.io/node-type": node}  # as the operator puts it on them
            print_object(f"{name}-{node}", "v1", "Pod", template["spec"], labels)


def print_object(name: str, version: str, kind: str, spec: object, labels: dict[str, str] | None = None) -> None:
    """Print an object as the operator makes it."""
    metadata = {"name": name, "namespace": "stoker", "labels": labels or {}}
    print("---", yaml.safe_dump({"apiVersion": version, "kind": kind, "metadata": metadata, "spec": spec}), sep="\n")


main()
