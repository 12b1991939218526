"""`rm`: deletes runs that have ended."""

import time
from dataclasses import asdict, dataclass

import click

from stoker.cli.commands.logs import parse_timeout
from stoker.cli.session import Session, examples, format_option, session_object
from stoker.cli.views.formatting import ago_text
from stoker.cli.views.tables import print_json, state_text, table_text
from stoker.clusters import verbs
from stoker.clusters.preconditions import require_ended, require_not_trial
from stoker.datasets.cache.eviction import size_text
from stoker.errors import NotFound
from stoker.tracking.run_folder import RunFolder
from stoker.tracking.run_lookup import list_runs

HEAD = ("run", "state", "ended", "size")


@dataclass(frozen=True)
class Removable:
    """A run that may be deleted."""

    id: str
    state: str
    ended: float
    """In seconds since 1970."""
    bytes: int
    """Of its folder here."""


@click.command(
    epilog=examples(
        "stoker rm digits-1a2b3c4d              shows what would be deleted",
        "stoker rm digits-1a2b3c4d --yes        deletes it",
        "stoker rm --older-than 30d --yes       all runs that ended more than 30 days ago",
    )
)
@click.argument("runs", metavar="[RUN]...", nargs=-1)
@click.option(
    "--older-than",
    metavar="TIME",
    callback=parse_timeout,
    help="All runs that ended for good so long ago: 30d.",
)
@click.option("-y", "--yes", "confirmed", is_flag=True, help="Delete them, rather than show what would be deleted.")
@format_option
@session_object
def rm(session: Session, runs: tuple[str, ...], older_than: float | None, confirmed: bool, form: str) -> None:
    """Delete runs that have ended; MLflow keeps their record.

    Without --yes it only shows what would be deleted: the folder of a run with its checkpoints, log and model, and what
    its cluster keeps of it. A recorded run's page and models in MLflow stay, as do checkpoints in a storage. A run that
    is paused or interrupted is deleted only by its name.
    """
    if bool(runs) == (older_than is not None):
        raise click.UsageError("name runs, or --older-than TIME")
    folders = [session.find(run) for run in dict.fromkeys(runs)]
    if older_than is not None:
        folders = _ended_before(session, time.time() - older_than)
    for folder in folders:
        if folder.adopted.exists():
            raise NotFound(f"{folder.path.name} was submitted elsewhere; whoever did so may delete it")
        require_not_trial(folder, "rm")
        require_ended(folder.record())
    found = [_removable(folder) for folder in folders]
    if confirmed:
        for folder in folders:
            verbs.remove(session.cluster_of(folder), folder)
    if form == "json":
        print_json([{**asdict(each), "deleted": confirmed} for each in found])
        return
    if not found:
        click.echo("no run ended that long ago")
        return
    rows = [
        [
            each.id,
            state_text(each.state),
            _ago(each.ended),
            size_text(each.bytes),
        ]
        for each in found
    ]
    click.echo(table_text(HEAD, rows, ("size",)))
    click.echo(
        "deleted" if confirmed else "nothing is deleted yet: --yes deletes these runs; their pages in MLflow stay"
    )


def _ended_before(session: Session, limit: float) -> list[RunFolder]:
    """Return the runs of this home that ended for good before a time; one that can be resumed has to be named."""
    records = [(folder, folder.record()) for folder in list_runs(session.settings.home)]
    return [folder for folder, record in records if record.state.final and 0 < record.status.ended < limit]


def _ago(ended: float) -> str:
    return ago_text(time.time() - ended) if ended else "unknown"


def _removable(folder: RunFolder) -> Removable:
    record = folder.record()
    size = sum(path.lstat().st_size for path in folder.path.rglob("*") if path.is_file() or path.is_symlink())
    return Removable(record.id, record.state, record.status.ended, size)
