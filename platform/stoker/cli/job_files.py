"""The JOB argument: a file, `-` for standard input, or an earlier run whose file is meant."""

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from stoker.cli.session import Session
from stoker.errors import JobError, NotFound, Problem
from stoker.job.saved_model import WEIGHTS
from stoker.tracking.run_lookup import run_with_model

if TYPE_CHECKING:
    from stoker.job.job import Job
    from stoker.jobfile.loading import LoadedJob
    from stoker.planning.run import Plan

STANDARD_INPUT = "<stdin>"


def load(session: Session, job: str, sets: Sequence[str]) -> "LoadedJob":
    """Load and check a job; of its data, headers and first rows are read.

    Raises:
        NotFound: neither a file nor a run has this name.
        JobError: the file must change.

    """
    from stoker.datasets.inspection import inspect, inspect_elsewhere
    from stoker.jobfile.loading import load_job, parse_job
    from stoker.jobfile.yaml_reader import SIZE_LIMIT, decode

    look = inspect_elsewhere if session.remote else inspect
    if job == "-":
        text = decode(sys.stdin.buffer.read(SIZE_LIMIT + 1), STANDARD_INPUT)
        loaded = parse_job(text, STANDARD_INPUT, sets, look)
    elif job.startswith(("run:", "@")):
        folder = session.find(job)  # of a run the resolved file, so that it is repeated
        code = folder.sweep.code if folder.sweep and not folder.code.exists() else folder.code
        loaded = load_job(folder.resolved if folder.resolved.exists() else folder.job, sets, look, code)
    else:
        loaded = load_job(_existing(job), sets, look)
    return _with_weights(session, loaded)


def _with_weights(session: Session, loaded: "LoadedJob") -> "LoadedJob":
    """Say once and for all which weights training begins with: a name means its newest run, which will be another one.

    Raises:
        JobError: they are not there.

    """
    start = loaded.job.training.start_from
    if start is None:
        return loaded
    from stoker.jobfile.loading import locate

    try:
        meant = _weights(session, start)
    except NotFound as error:
        problem = Problem("training.start_from", str(error))
        raise JobError(locate([problem], loaded.marks), loaded.origin) from error
    training = loaded.job.training.model_copy(update={"start_from": meant})
    return replace(loaded, job=loaded.job.model_copy(update={"training": training}))


def _weights(session: Session, start: str) -> str:
    """Name the run by its id, or the folder by its whole path.

    Raises:
        NotFound: there is no model.

    """
    if not start.startswith("run:"):
        folder = Path(start).expanduser().absolute()
        if not (folder / WEIGHTS).is_file():
            raise NotFound(f"no saved model in '{start}' ({WEIGHTS} is missing)")
        return str(folder)
    run = run_with_model(session.find(start))
    record = run.record()
    if not run.model.exists() and not record.status.model_uri:
        raise NotFound(f"{record.id} is {record.state} and has no model")
    return f"run:{record.id}"


def _existing(job: str) -> Path:
    path = Path(job)
    if path.is_dir():
        raise JobError([Problem("", "is a folder; name a job file in it")], job)
    if not path.exists():
        raise NotFound(f"no file '{job}'; an earlier run is written run:ID, standard input is -")
    return path


def plan_for(loaded: "LoadedJob", elsewhere: bool = False) -> "Plan":
    """Make the plan of a job.

    Args:
        loaded: the job.
        elsewhere: whether a cluster will run it, whose room is not this machine's.

    Raises:
        JobError: what the plan found wrong, at its place in the file.

    """
    from stoker.jobfile.loading import locate
    from stoker.planning.run import make_plan

    try:
        with _importable(loaded.code):
            return make_plan(loaded.job, elsewhere)
    except JobError as error:
        raise JobError(locate(error.problems, loaded.marks), error.origin or loaded.origin) from error


@contextmanager
def _importable(code: Path | None) -> Iterator[None]:
    """Let the user's own modules be imported for the length of the block."""
    if code is None:
        yield
        return
    sys.path.insert(0, str(code))
    try:
        yield
    finally:
        sys.path.remove(str(code))


def job_summary(job: "Job") -> str:
    """Say in one line what a job trains."""
    from stoker.job.task import TASKS

    training = job.training
    family = job.architecture.family if job.architecture else TASKS[job.task].families[0]
    lengths = [
        f"{training.epochs} epochs" if training.epochs else "",
        f"{training.steps} steps" if training.steps else "",
        training.time or "",
    ]
    length = " or ".join(filter(None, lengths))
    return f"{job.task}: {family} on {job.dataset.source}" + (f", {length}" if length else "")
