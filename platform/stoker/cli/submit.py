"""`submit`: start a run, and stay with it until it ends or the user lets go."""

import hashlib
from typing import TYPE_CHECKING

import click

from stoker.cli.attach import stay_with
from stoker.cli.job_files import load, plan_for
from stoker.cli.links import run_page
from stoker.cli.plan import plan_text
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
from stoker.cli.tables import styled
from stoker.clusters.new_run import Origin
from stoker.clusters.submit_keys import claim_key
from stoker.settings import Settings, is_server
from stoker.tracking.health import require_server
from stoker.tracking.record import RunFolder
from stoker.tracking.run import RunRecord, keyed_run_id, new_run_id

if TYPE_CHECKING:
    from stoker.job.job import Job
    from stoker.jobfile.loading import LoadedJob


def check_key(_context: click.Context, _parameter: click.Parameter, value: str | None) -> str | None:
    """Refuse a key that says nothing, such as that of a variable which is not set.

    Raises:
        BadParameter: it is empty.

    """
    if value is not None and not value.strip():
        raise click.BadParameter("is empty (example: --key nightly-2026-05-01)")
    return value


@click.command(
    epilog=examples(
        "stoker submit jobs/digits-cnn.yaml",
        "stoker submit jobs/digits-cnn.yaml --set training.epochs=3 --detach",
        "stoker submit run:@last             the newest run again, as a new one",
        "stoker submit job.yaml --key ci-17  typed again, it finds the run that is there",
        "stoker submit job.yaml -o json      no progress; the result as JSON at the end",
        "stoker submit job.yaml --cluster prod",
    )
)
@job_argument
@set_option
@cluster_option
@click.option("--key", metavar="KEY", callback=check_key, help="Never start a second run with this key.")
@detach_option
@format_option
@session_object
def submit(session: Session, job: str, sets: tuple[str, ...], key: str | None, detach: bool, form: str) -> int:
    """Start a run and watch it.

    Ctrl-C lets go of the run without ending it. Exit codes: 0 succeeded, paused or detached, 1 failed or cancelled, 2
    the file must change, 4 the tracking server does not answer.
    """
    loaded = load(session, job, sets)
    if key is None:
        folder = start(session, loaded, Origin(loaded.code), form)
        greeting = started_text(folder.record(), session.settings)
    else:
        folder, greeting = start_once(session, loaded, key, form)
    return stay_with(session.place_of(folder), folder, detach, form, greeting)


def start(session: Session, loaded: "LoadedJob", origin: Origin, form: str) -> RunFolder:
    """Plan a job, show the plan, and give the run to a driver, which gets ready meanwhile; or give it to a cluster.

    Raises:
        JobError: the plan found a mistake.
        Unreachable: the tracking server does not answer.
        ClusterError: this machine refuses.

    """
    if session.remote:
        source = loaded.job.dataset.source
        if source.startswith("/"):
            place = "its pods must find the data there, too: in the image, or on a volume"
            click.echo(f"note: dataset.source is {source}; {place}", err=True)
        return session.there.submit(loaded.job, origin)
    if loaded.job.tracking != "none":
        require_tracking(session.settings)
    with session.here.start_warm_driver(loaded.job) as driver:
        plan = plan_for(loaded)
        if form != "json":
            click.echo(plan_text(plan))
        return session.here.submit(plan.job, origin, driver)


def start_once(session: Session, loaded: "LoadedJob", key: str, form: str) -> tuple[RunFolder, str]:
    """Start a run unless one has this key; return it, and what to say of it.

    Raises:
        JobError: the key's run has another job, or the plan found a mistake.
        Unreachable: the tracking server does not answer.
        ClusterError: this machine refuses.
        WaitTimedOut: somebody else is starting it and does not come to an end.

    """
    settings, name = session.settings, loaded.job.name
    assert name is not None
    fresh = keyed_run_id(name, key) if session.remote else new_run_id(name)
    with claim_key(settings.home, key, fresh, job_hash(loaded.job)) as claimed:
        if not claimed.exists:
            folder = start(session, loaded, Origin(loaded.code, key=key, run=claimed.run), form)
            return folder, started_text(folder.record(), settings)
    record = RunFolder(settings.home / "runs" / claimed.run).record()
    greeting = f"the key '{key}' has a run, so none was started: {record.id} is {record.state}"
    return RunFolder(record.folder), greeting


def require_tracking(settings: Settings) -> None:
    """Look for the tracking server before anything is started.

    Raises:
        Unreachable: it does not answer.

    """
    if is_server(settings.tracking_uri):
        require_server(settings.tracking_uri)


def job_hash(job: "Job") -> str:
    """Tell two jobs apart."""
    from stoker.jobfile.loading import dump_job

    return hashlib.sha256(dump_job(job).encode()).hexdigest()


def started_text(record: RunRecord, settings: Settings) -> str:
    """Say which run was started, and where it can be looked at."""
    page = run_page(record, settings)
    return f"\nrun {styled(record.id, bold=True)}" + (f"\npage: {page}" if page else "")
