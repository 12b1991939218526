"""`submit`: start a run, and stay with it until it ends or the user lets go."""

from typing import TYPE_CHECKING

import click

from stoker.cli.attach import attach
from stoker.cli.following import wait_for
from stoker.cli.health import require_server
from stoker.cli.job_files import load, plan_for
from stoker.cli.links import is_server, run_page
from stoker.cli.plan import plan_text
from stoker.cli.reports import exit_code, run_json, show_outcome
from stoker.cli.session import Session, examples, format_option, job_argument, session_object, set_option
from stoker.cli.tables import print_json, styled
from stoker.clusters.local import LocalCluster
from stoker.settings import Settings
from stoker.tracking.record import RunFolder

if TYPE_CHECKING:
    from stoker.spec.job import Job


@click.command(
    epilog=examples(
        "stoker submit jobs/digits-cnn.yaml",
        "stoker submit jobs/digits-cnn.yaml --set training.epochs=3 --detach",
        "stoker submit run:@last             the newest run again, as a new one",
        "stoker submit job.yaml -o json      no progress; the result as JSON at the end",
    )
)
@job_argument
@set_option
@click.option("-d", "--detach", is_flag=True, help="Return as soon as the run is started.")
@format_option
@session_object
def submit(session: Session, job: str, sets: tuple[str, ...], detach: bool, form: str) -> int:
    """Start a run and watch it.

    Ctrl-C lets go of the run without ending it. Exit codes: 0 succeeded or detached, 1 failed or cancelled, 2 the file
    must change, 4 the tracking server does not answer.
    """
    settings = session.settings
    loaded = load(session, job, sets)
    require_tracking(loaded.job, settings)
    cluster = LocalCluster(settings)
    with cluster.stand_by(loaded.job) as standby:  # Ray starts while the plan is made
        plan = plan_for(loaded)
        if form != "json":
            click.echo(plan_text(plan))
        folder = cluster.submit(plan.job, standby)
    if form == "json":
        return _stay_quietly(cluster, folder, detach)
    try:
        _say_started(folder, settings)
        if detach:
            click.echo(_detached(folder.path.name))
            return 0
        record = attach(cluster, folder)
    except KeyboardInterrupt:
        click.echo(f"\n{_detached(folder.path.name)}")
        return 0
    show_outcome(folder, record, settings)
    return exit_code(record)


def require_tracking(job: "Job", settings: Settings) -> None:
    """Look for the tracking server before anything is started.

    Raises:
        Unreachable: it does not answer.

    """
    if job.tracking != "none" and is_server(settings.tracking_uri):
        require_server(settings.tracking_uri)


def _stay_quietly(cluster: LocalCluster, folder: RunFolder, detach: bool) -> int:
    try:
        record = folder.record() if detach else wait_for(cluster, folder, None)
    except KeyboardInterrupt:
        detach, record = True, folder.record()
    print_json(run_json(folder, record, cluster.settings))
    return 0 if detach else exit_code(record)


def _say_started(folder: RunFolder, settings: Settings) -> None:
    click.echo(f"\nrun {styled(folder.path.name, bold=True)}")
    if page := run_page(folder.record(), settings):
        click.echo(f"page: {page}")


def _detached(run_id: str) -> str:
    return f"detached; the run goes on. stoker logs -f {run_id} | stoker status {run_id} | stoker cancel {run_id}"
