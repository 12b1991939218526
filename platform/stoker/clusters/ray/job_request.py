"""The request that submits a run to Ray's Jobs API, and the package with its inputs: pure functions."""

import hashlib
import io
import zipfile
from collections.abc import Mapping
from typing import Any

from stoker.clusters.restart import FIRST_START, Restart
from stoker.clusters.run_inputs import CODE_FOLDER, RUN_LABEL, driver_command, input_files
from stoker.errors import JobError, Problem
from stoker.execution.contract import SUBMISSION
from stoker.job.own_code import AnyJob
from stoker.tracking.run import RunHeader

INPUTS = "inputs"
"""Folder in the package; at its top level files of the run could shadow Python modules."""
HOME = "~/.stoker-driver"
"""Folder of a driver's runs on the head node, deleted when they end."""
PACKAGE_BYTES = 100 * 2**20
"""Limit of Ray's dashboard."""
ZIP_TIME = (1980, 1, 1, 0, 0, 0)
"""Constant, so that the same files make the same package."""


def require_supported(job: AnyJob) -> None:
    """Raise for settings that an existing Ray cluster does not have.

    Raises:
        JobError: the job uses some.

    """
    settings = {
        "resources.queue": (job.resources.queue, "has no queues; runs start as soon as there is capacity"),
        "resources.priority": (
            job.resources.priority,
            "has no priorities; runs start as soon as there is capacity",
        ),
        "environment.image": (job.environment.image, "has one image, in which its nodes already run"),
    }
    if problems := [
        Problem(key, f"an existing Ray cluster {why}; leave it out") for key, (value, why) in settings.items() if value
    ]:
        raise JobError(problems)


def submission_id(run: str, restart_id: str) -> str:
    """Return the id of the Ray job of a run, or of a restart of it: Ray never accepts an id twice.

    Deleting the old job first would not help: Ray monitors it for a second after its end, and would mistake a new job
    of the same id for it.
    """
    return f"{run}-{restart_id}" if restart_id else run


def inputs_package(job: AnyJob, header: RunHeader, code: Mapping[str, bytes]) -> bytes:
    """Return the package with the inputs of a run.

    Args:
        job: the checked job.
        header: of the run.
        code: the user's own files, by path.

    Raises:
        JobError: it is larger than Ray accepts.

    """
    files = {name: text.encode() for name, text in input_files(job, header).items()}
    files |= {f"{CODE_FOLDER}/{path}": content for path, content in sorted(code.items())}
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as package:
        for name, content in files.items():
            entry = zipfile.ZipInfo(f"{INPUTS}/{name}", ZIP_TIME)
            entry.external_attr = 0o644 << 16
            package.writestr(entry, content, zipfile.ZIP_DEFLATED)
    content = packed.getvalue()
    if len(content) >= PACKAGE_BYTES:
        size = f"holds {len(content) / 1e6:.0f} MB of code; the limit is {PACKAGE_BYTES / 1e6:.0f} MB"
        raise JobError([Problem("environment.code", f"{size}; name a smaller folder")])
    return content


def package_name(content: bytes) -> str:
    """Return the name of a package, which is a hash of its content."""
    return f"stoker_{hashlib.sha256(content).hexdigest()[:32]}.zip"


def job_request(job: AnyJob, header: RunHeader, package: str, restart: Restart = FIRST_START) -> dict[str, Any]:
    """Return the body of the request that submits a run.

    The driver requests no CPU: it mostly waits, and a Ray job without a request runs on the head node.

    Args:
        job: the checked job.
        header: of the run; names where its record and checkpoints go.
        package: name of the package with its inputs.
        restart: the `resume` or `extend` that starts it.

    """
    submission = submission_id(header.id, restart.id)
    variables = {**job.environment.env, "STOKER_HOME": HOME, "STOKER_STORAGE": header.storage, SUBMISSION: submission}
    variables |= restart.variables
    if header.tracking_uri:
        variables["MLFLOW_TRACKING_URI"] = header.tracking_uri
    environment: dict[str, Any] = {"working_dir": f"gcs://{package}", "env_vars": variables}
    if job.environment.packages:
        environment["pip"] = list(job.environment.packages)
    return {
        "entrypoint": driver_command(INPUTS),
        "submission_id": submission,
        "runtime_env": environment,
        "metadata": {RUN_LABEL: header.id},
    }
