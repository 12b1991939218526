"""`submit`: start a run, and show it until it ends or the user detaches."""

from dataclasses import replace
from typing import TYPE_CHECKING

import click

from stoker.cli.attach import stay_attached
from stoker.cli.job_argument import extended_by, load, plan_for
from stoker.cli.mlflow_links import run_page
from stoker.cli.session import (
    Session,
    cluster_option,
    detach_option,
    examples,
    format_option,
    job_argument,
    session_object,
    set_option,
)
from stoker.cli.views.plan import plan_text
from stoker.cli.views.tables import styled
from stoker.clusters.home_folder import run_folder
from stoker.clusters.new_run import Origin
from stoker.clusters.submit_keys import claim_key
from stoker.settings import Settings, is_server
from stoker.tracking.health import require_server
from stoker.tracking.run import RunRecord, keyed_run_id, new_run_id
from stoker.tracking.run_folder import RunFolder

if TYPE_CHECKING:
    from stoker.job.own_code import AnyJob
    from stoker.jobfile.loading import LoadedJob

MOST_PROFILED = 1000
"""Steps of a trace; a larger one cannot be looked at."""


def check_key(_context: click.Context, _parameter: click.Parameter, value: str | None) -> str | None:
    """Check that a key is not empty, as from a variable that is not set.

    Raises:
        BadParameter: it is.

    """
    if value is not None and not value.strip():
        raise click.BadParameter("is empty (example: --key nightly-2026-05-01)")
    return value


@click.command(
    epilog=examples(
        "stoker submit jobs/vision/digits-cnn.yaml",
        "stoker submit jobs/vision/digits-cnn.yaml --set training.epochs=3 --detach",
        "stoker submit run:@last             repeat the newest run as a new one",
        "stoker submit job.yaml --key ci-17  typed again, it finds the existing run",
        "stoker submit job.yaml -o json      no progress; the result as JSON at the end",
        "stoker submit job.yaml --profile 20 where the time of a step goes: a trace of 20 steps",
        "stoker submit job.yaml --cluster prod",
    )
)
@job_argument
@set_option
@cluster_option
@click.option("--key", metavar="KEY", callback=check_key, help="Never start a second run with this key.")
@click.option(
    "--profile",
    "profile_steps",
    metavar="STEPS",
    type=click.IntRange(1, MOST_PROFILED),
    help="Record this many steps with torch's profiler, after a few to warm up; the run's artifact profile/.",
)
@detach_option
@format_option
@session_object
def submit(
    session: Session,
    job: str,
    sets: tuple[str, ...],
    key: str | None,
    profile_steps: int | None,
    detach: bool,
    form: str,
) -> int:
    """Start a run and watch it.

    Ctrl-C detaches from the run without ending it. Exit codes: 0 succeeded, paused or detached, 1 failed or cancelled,
    2 the file must change, 4 the tracking server does not answer.
    """
    loaded = load(session, job, sets)
    if profile_steps and (kind := _without_profile(loaded.job)):
        raise click.UsageError(f"--profile records the training loop of a single run with a task; this is {kind}")
    origin = Origin(loaded.code, profile_steps=profile_steps or 0)
    if repeated := extended_by(session, job):
        session = replace(session, storage=repeated.storage)  # where its initial weights are
        origin = replace(origin, extends=repeated.extends)
    if key is None:
        folder = start(session, loaded, origin, form)
        greeting = started_text(folder.record(), session.settings)
    else:
        folder, greeting = start_once(session, loaded, replace(origin, key=key), form)
    return stay_attached(session.cluster_of(folder), folder, detach, form, greeting)


def _without_profile(job: "AnyJob") -> str:
    """Return what kind of job cannot be profiled; empty for one that can."""
    from stoker.job.job import Job  # imports pydantic, as loading the job did

    if job.sweep:
        return "a sweep: profile one of its trials by `stoker submit run:SWEEP.best --profile 20`"
    return "" if isinstance(job, Job) else "own code: use torch.profiler in it"


def start(session: Session, loaded: "LoadedJob", origin: Origin, form: str) -> RunFolder:
    """Start a run: on this machine after printing its plan, with a driver that starts meanwhile; or on a cluster.

    Raises:
        JobError: the plan found a problem.
        Unreachable: the tracking server or the cluster does not answer.
        ClusterError: the cluster or this machine refuses.

    """
    if session.remote:
        source = loaded.job.dataset.source if loaded.job.dataset else ""
        if source.startswith("/"):
            cure = "its pods must find the data at this path, in the image or on a volume"
            click.echo(f"note: dataset.source is {source}; {cure}", err=True)
        return session.target.submit(loaded.job, origin)
    if loaded.job.tracking != "none":
        require_tracking(session.settings)
    with session.local.start_warm_driver(loaded.job) as driver:
        plan = plan_for(session, loaded)
        if form != "json":
            click.echo(plan_text(plan))
        return session.local.submit(plan.job, origin, driver)


def start_once(session: Session, loaded: "LoadedJob", origin: Origin, form: str) -> tuple[RunFolder, str]:
    """Start a run unless one has the origin's key; return it and the text to print about it. Raises as `start` does.

    Raises:
        JobError: the key belongs to a run with another job.
        WaitTimedOut: another process is starting the run and takes too long.

    """
    settings, name, key = session.settings, loaded.job.name, origin.key
    assert name is not None
    fresh = keyed_run_id(name, key) if session.remote else new_run_id(name)
    from stoker.clusters.run_inputs import job_hash  # imports pydantic, as loading the job did

    with claim_key(settings.home, key, fresh, job_hash(loaded.job)) as claimed:
        if not claimed.exists:
            folder = start(session, loaded, replace(origin, run=claimed.run), form)
            return folder, started_text(folder.record(), settings)
    record = run_folder(settings.home, claimed.run).record()
    greeting = f"the key '{key}' has a run, so none was started: {record.id} is {record.state}"
    return RunFolder(record.folder), greeting


def require_tracking(settings: Settings) -> None:
    """Check that the tracking server answers, before anything is started.

    Raises:
        Unreachable: it does not.

    """
    if is_server(settings.tracking_uri):
        require_server(settings.tracking_uri)


def started_text(record: RunRecord, settings: Settings) -> str:
    """Return the text that names a new run, its page, and the run that it extends."""
    page, extends = run_page(record, settings), record.header.extends
    lines = [f"run {styled(record.id, bold=True)}", f"page: {page}" if page else "", extends and f"extends {extends}"]
    return "\n" + "\n".join(filter(None, lines))
