"""The JOB argument of a command: a file, `-` for standard input, or an earlier run whose file is used."""

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
    from stoker.planning.own_code import CodePlan
    from stoker.planning.run import Plan
    from stoker.tracking.run import RunHeader

STANDARD_INPUT = "<stdin>"
START, FEATURES = "training.start_from", "training.evaluate.features"
"""The keys that name the weights of a run."""
EARLIER = ("run:", "@")
"""Beginnings of the name of an earlier run, whose file is used."""


def load(session: Session, job: str, sets: Sequence[str]) -> "LoadedJob":
    """Load and check a job; only headers and first rows of its data are read.

    Raises:
        NotFound: no file or run has this name.
        JobError: the file must change.

    """
    from stoker.cli.model_paths import with_absolute_models
    from stoker.datasets.inspection import inspect, inspect_elsewhere
    from stoker.job.job import Job
    from stoker.jobfile.loading import load_job, parse_job
    from stoker.jobfile.yaml_reader import SIZE_LIMIT, decode

    look = inspect_elsewhere if session.remote else inspect
    if job == "-":
        text = decode(sys.stdin.buffer.read(SIZE_LIMIT + 1), STANDARD_INPUT)
        loaded = parse_job(text, STANDARD_INPUT, sets, look)
    elif job.startswith(EARLIER):
        folder = session.find(job)  # the resolved file repeats the run
        code = folder.sweep.code if folder.sweep and not folder.code.exists() else folder.code
        loaded = load_job(folder.resolved if folder.resolved.exists() else folder.job, sets, look, code)
    else:
        loaded = load_job(_existing(job), sets, look)
    if isinstance(loaded.job, Job) and not session.remote:
        loaded = replace(loaded, job=with_absolute_models(loaded.job))
    return _with_resolved_weights(session, loaded)


def extended_by(session: Session, job: str) -> "RunHeader | None":
    """Return the header of an earlier run that extends another one, from whose weights its repetition starts, too.

    Raises:
        NotFound: the other one is gone.

    """
    header = session.find(job).header() if job.startswith(EARLIER) else None
    if header is None or not header.extends:
        return None
    try:
        session.find(header.extends)
    except NotFound as error:
        raise NotFound(f"{header.id} extends {header.extends}, which is gone: nothing can repeat it") from error
    return header


def _with_resolved_weights(session: Session, loaded: "LoadedJob") -> "LoadedJob":
    """Replace the names of runs whose weights a job uses by their ids: the newest run of a name changes later.

    Raises:
        JobError: the weights do not exist.

    """
    from stoker.job.job import Job
    from stoker.jobfile.loading import locate

    job = loaded.job
    if not isinstance(job, Job):
        return loaded
    training, evaluated = job.training, job.training.evaluate
    found: dict[str, str] = {}
    problems = []
    for key, name in {START: training.start_from, FEATURES: evaluated.classifier}.items():
        try:
            found |= {key: _resolved_weights(session, name)} if name else {}
        except NotFound as error:
            problems.append(Problem(key, str(error)))
    if problems:
        raise JobError(locate(problems, loaded.marks), loaded.origin)
    if FEATURES in found:
        evaluated = evaluated.model_copy(update={"features": found[FEATURES]})
    update = {"start_from": found.get(START), "evaluate": evaluated}
    return replace(loaded, job=job.model_copy(update={"training": training.model_copy(update=update)}))


def _resolved_weights(session: Session, start: str) -> str:
    """Return a run by its id, or a folder by its absolute path.

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
        raise NotFound(f"no file '{job}'; write run:ID for an earlier run, and - for standard input")
    return path


def plan_for(session: Session, loaded: "LoadedJob", cluster: str = "") -> "Plan | CodePlan":
    """Return the plan of a job.

    Args:
        session: finds the run whose weights it starts from.
        loaded: the job.
        cluster: that will run it, in words; empty for this machine, whose capacity has to suffice.

    Raises:
        JobError: the plan found problems, each with its place in the file.

    """
    from stoker.job.own_code import CodeJob
    from stoker.jobfile.loading import locate

    try:
        if isinstance(loaded.job, CodeJob):
            from stoker.planning.own_code import plan_code

            assert loaded.code is not None
            return plan_code(loaded.job, loaded.code, cluster)
        from stoker.planning.run import make_plan

        with _importable(loaded.code):
            return make_plan(loaded.job, cluster, _weights_here(session, loaded.job))
    except JobError as error:
        raise JobError(locate(error.problems, loaded.marks), error.origin or loaded.origin) from error


def _weights_here(session: Session, job: "Job") -> Path | None:
    """Return the folder of the weights that a job starts from; None without any, or if they are on a cluster."""
    start = job.training.start_from
    if not start:
        return None
    folder = session.find(start).model if start.startswith("run:") else Path(start)
    return folder if (folder / WEIGHTS).exists() else None


@contextmanager
def _importable(code: Path | None) -> Iterator[None]:
    """Make the user's own modules importable during the block."""
    if code is None:
        yield
        return
    sys.path.insert(0, str(code))
    try:
        yield
    finally:
        sys.path.remove(str(code))
