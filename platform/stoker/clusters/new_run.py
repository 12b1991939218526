"""How every cluster begins a run: its origin, its header, and the module that runs as its driver."""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from stoker.settings import Settings, without_password
from stoker.tracking.run import RunHeader, new_run_id

if TYPE_CHECKING:
    from stoker.job.own_code import AnyJob

DRIVER_MODULE = "stoker.execution.entrypoint"


@dataclass(frozen=True)
class Origin:
    """Where a new run comes from, besides its job."""

    code: Path | None = None
    """Folder of the user's own modules, which are shipped with the run."""
    extends: str = ""
    """Id of the finished run that it continues."""
    key: str = ""
    """Of `submit --key`."""
    run: str = ""
    """Id reserved for the key; default: a new one."""
    profile_steps: int = 0
    """Of `submit --profile`."""

    def files(self) -> dict[str, Path]:
        """Return the user's own files by their path below the code folder.

        Raises:
            JobError: they are too many or too large.

        """
        from stoker.jobfile.code import code_files

        return {str(path.relative_to(self.code)): path for path in code_files(self.code)} if self.code else {}

    def file_contents(self) -> dict[str, bytes]:
        """Return the content of the user's own files by their path below the code folder. Raises as `files` does."""
        return {name: path.read_bytes() for name, path in self.files().items()}


def new_header(job: "AnyJob", settings: Settings, origin: Origin) -> RunHeader:
    """Return the header of a new run."""
    from stoker.job.own_code import CodeJob  # imports pydantic, as loading the job did

    assert job.name is not None
    tracking = job.tracking
    if isinstance(job, CodeJob):
        words = job.entrypoint.split()
        task, family = words[0], "ray-train" if job.entry.function else "script"
    else:
        task, family = job.task, job.architecture.family if job.architecture else ""
    return RunHeader(
        id=origin.run or new_run_id(job.name),
        name=job.name,
        task=task,
        family=family,
        dataset=Path(job.dataset.source).name if job.dataset else "",
        created=time.time(),
        order=time.time_ns(),
        tracking_uri="" if tracking == "none" else without_password(settings.tracking_uri),
        experiment="" if tracking == "none" else (tracking.experiment or job.name),
        key=origin.key,
        extends=origin.extends,
        storage=settings.storage,
        own_code=isinstance(job, CodeJob),
        profile_steps=origin.profile_steps,
    )
