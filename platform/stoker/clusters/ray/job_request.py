"""From a job to what the Jobs API of a standing Ray takes: pure functions."""

import hashlib
import io
import json
import zipfile
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from stoker.clusters.restart import FIRST, Again
from stoker.errors import JobError, Problem
from stoker.execution.contract import SUBMISSION
from stoker.job.job import Job
from stoker.jobfile.loading import dump_job
from stoker.tracking.run import RunHeader

INPUTS = "inputs"
"""Folder of the package: beside it nothing of the run's can be imported in place of something else."""
ENTRYPOINT = f"python -m stoker.execution.entrypoint --inputs {INPUTS}"
HOME = "~/.stoker-driver"
"""Of the user that the head runs as: the driver's folder of the run, as long as it works there."""
RUN = "stoker.dev/run"
"""Metadata of a job: the run that it belongs to."""
PACKAGE_BYTES = 100 * 2**20
"""Ray's dashboard takes no more."""
FIRST_DAY = (1980, 1, 1, 0, 0, 0)
"""The same files make the same package."""


def require_possible(job: Job) -> None:
    """Refuse what a standing Ray does not have.

    Raises:
        JobError: the job asks for it.

    """
    asked = {
        "resources.queue": (job.resources.queue, "has no queues: its runs begin as soon as there is room"),
        "resources.priority": (job.resources.priority, "has no priorities: its runs begin as soon as there is room"),
        "environment.image": (job.environment.image, "has one image, and its nodes run already"),
    }
    if problems := [
        Problem(key, f"a standing Ray {why}; leave it out") for key, (value, why) in asked.items() if value
    ]:
        raise JobError(problems)


def submission_id(run: str, word: str) -> str:
    """Name the job of a run, or of a `resume` of it: Ray never takes an id twice.

    To delete the old job first would not do: Ray watches it for a second after its end, and takes a new one of the same
    id for it.
    """
    return f"{run}-{word}" if word else run


def inputs_package(job: Job, header: RunHeader, code: Mapping[str, bytes]) -> bytes:
    """Pack what the run is.

    Args:
        job: the checked job.
        header: who the run is.
        code: the user's own files, by path.

    Raises:
        JobError: it is larger than Ray takes.

    """
    files = {"job.yaml": dump_job(job).encode(), "run.json": json.dumps(asdict(header)).encode()}
    files |= {f"code/{path}": content for path, content in sorted(code.items())}
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as package:
        for name, content in files.items():
            entry = zipfile.ZipInfo(f"{INPUTS}/{name}", FIRST_DAY)
            entry.external_attr = 0o644 << 16
            package.writestr(entry, content, zipfile.ZIP_DEFLATED)
    content = packed.getvalue()
    if len(content) >= PACKAGE_BYTES:
        message = f"is {len(content) / 1e6:.0f} MB of code, {PACKAGE_BYTES / 1e6:.0f} MB fit; set a smaller folder"
        raise JobError([Problem("environment.code", message)])
    return content


def package_name(content: bytes) -> str:
    """Name a package by what is in it."""
    return f"stoker_{hashlib.sha256(content).hexdigest()[:32]}.zip"


def job_request(job: Job, header: RunHeader, package: str, again: Again = FIRST) -> dict[str, Any]:
    """Describe the job of a run.

    The driver takes no CPU of Ray's: it mostly waits, and a job that asks for none runs on the head.

    Args:
        job: the checked job.
        header: who the run is, and where its record and checkpoints go.
        package: name of the package with its inputs.
        again: for a run that goes on after its end.

    """
    submission = submission_id(header.id, again.word)
    variables = {**job.environment.env, "STOKER_HOME": HOME, "STOKER_STORAGE": header.storage, SUBMISSION: submission}
    variables |= again.variables
    if header.tracking_uri:
        variables["MLFLOW_TRACKING_URI"] = header.tracking_uri
    environment: dict[str, Any] = {"working_dir": f"gcs://{package}", "env_vars": variables}
    if job.environment.packages:
        environment["pip"] = list(job.environment.packages)
    return {
        "entrypoint": ENTRYPOINT,
        "submission_id": submission,
        "runtime_env": environment,
        "metadata": {RUN: header.id},
    }
