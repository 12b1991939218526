"""The files from which a driver on a cluster starts, the command that reads them, and the label of a run's objects."""

import hashlib
import json
from dataclasses import asdict

from stoker.clusters.new_run import DRIVER_MODULE
from stoker.job.own_code import AnyJob
from stoker.jobfile.loading import dump_job
from stoker.tracking.run import RunHeader

JOB_FILE = "job.yaml"
HEADER_FILE = "run.json"
CODE_FOLDER = "code"
"""Of the user's own modules."""
RUN_LABEL = "stoker.dev/run"
"""Label in Kubernetes and metadata key in Ray: the run that an object belongs to."""


def input_files(job: AnyJob, header: RunHeader) -> dict[str, str]:
    """Return the content of the job file and the header file by name."""
    return {JOB_FILE: dump_job(job), HEADER_FILE: json.dumps(asdict(header))}


def driver_command(folder: str) -> str:
    """Return the command of a driver that finds its inputs in a folder."""
    return f"python -m {DRIVER_MODULE} --inputs {folder}"


def job_hash(job: AnyJob) -> str:
    """Return the hash by which a submit key tells two jobs apart."""
    return hashlib.sha256(dump_job(job).encode()).hexdigest()
