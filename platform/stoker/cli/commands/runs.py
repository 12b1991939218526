"""`ls` and `status`: list the runs, and show one."""

from contextlib import suppress

import click

from stoker.cli.session import Session, cluster_option, examples, format_option, run_argument, session_object
from stoker.cli.views.run_report import run_json
from stoker.cli.views.run_status import status_text
from stoker.cli.views.run_table import run_table
from stoker.cli.views.tables import print_json
from stoker.errors import ClusterError, NotFound
from stoker.tracking.run import RunRecord
from stoker.tracking.run_folder import RunFolder
from stoker.tracking.run_lookup import list_runs

NEWEST = 20


@click.command(
    epilog=examples(
        "stoker ls                    the 20 newest runs",
        "stoker ls -n 3               the 3 newest",
        "stoker ls --all -o json      all of them, for another program",
        "stoker ls --everyone --cluster prod    the runs on a cluster, of all submitters",
    )
)
@click.option("-n", "--newest", type=click.IntRange(min=1), default=NEWEST, show_default=True, help="How many.")
@click.option("-a", "--all", "everything", is_flag=True, help="Show all of them.")
@click.option("--everyone", is_flag=True, help="Show the runs on a cluster, of all submitters.")
@cluster_option
@format_option
@session_object
def ls(session: Session, newest: int, everything: bool, everyone: bool, form: str) -> None:
    """List the runs, newest first.

    Lists the runs of this home, or with --everyone those that a cluster still has.
    """
    settings = session.settings
    if everyone:
        _list_cluster(session, None if everything else newest, form)
        return
    found = list_runs(settings.home)
    shown = found if everything else found[:newest]
    if form == "json":
        print_json([run_json(folder, _record(session, folder), settings) for folder in shown])
    elif not found:
        click.echo(f"no runs in {settings.home} yet; `stoker submit JOB.yaml` starts one")
    else:
        click.echo(run_table([(folder, _record(session, folder)) for folder in shown]))
        if len(shown) < len(found):
            click.echo(f"... and {len(found) - len(shown)} older; `stoker ls --all` shows them")


@click.command(
    epilog=examples(
        "stoker status @last                the newest run",
        "stoker status digits               the newest run of the job named digits",
        "stoker status digits-1a2b -o json  a run by the start of its id, for another program",
    )
)
@run_argument
@cluster_option
@format_option
@session_object
def status(session: Session, run: str, form: str) -> None:
    """Show the state and the results of a run."""
    folder = session.find(run)
    record = session.cluster_of(folder).refresh(folder)
    if form == "json":
        print_json(run_json(folder, record, session.settings))
    else:
        click.echo(status_text(folder, record, session.settings))


def _list_cluster(session: Session, newest: int | None, form: str) -> None:
    if not session.remote:
        raise click.UsageError("--everyone needs a cluster: name one with --cluster")
    cluster = session.kubernetes(session.settings.cluster, "see its dashboard for a list of its jobs")
    records = cluster.runs()[:newest]
    if form == "json":
        print_json([run_json(RunFolder(record.folder), record, session.settings) for record in records])
    elif not records:
        click.echo(f"cluster '{cluster.name}' has no runs")
    else:
        click.echo(run_table([(RunFolder(record.folder), record) for record in records]))


def _record(session: Session, folder: RunFolder) -> RunRecord:
    """Return an updated record; the last known one if the cluster does not answer."""
    record = folder.record()
    if record.header.cluster and not record.state.ended:
        with suppress(ClusterError, NotFound):
            return session.cluster_of(folder).refresh(folder)
    return record
