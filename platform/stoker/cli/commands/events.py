"""`events`: show the events of a run on its cluster."""

from dataclasses import asdict

import click

from stoker.cli.session import Session, examples, format_option, run_argument, session_object
from stoker.cli.views.formatting import age_text
from stoker.cli.views.tables import print_json, styled, table_text
from stoker.clusters.cluster import Event
from stoker.tracking.run import now

HEAD = ("age", "about", "reason", "message")


@click.command(
    epilog=examples(
        "stoker events @last            why the newest run waits, and what happened to its pods",
        "stoker events digits -o json   for another program",
    )
)
@run_argument
@format_option
@session_object
def events(session: Session, run: str, form: str) -> None:
    """Show what has happened to a run on its cluster.

    The oldest event comes first. Kubernetes deletes events after about an hour.
    """
    folder = session.find(run)
    found = session.cluster_of(folder).events(folder)
    if form == "json":
        print_json([asdict(event) for event in found])
    elif not found:
        click.echo(f"its cluster has no events of {folder.path.name}, or has deleted them")
    else:
        click.echo(table_text(HEAD, [_row(event) for event in found]))


def _row(event: Event) -> list[str]:
    reason = f"{event.reason} ×{event.count}" if event.count > 1 else event.reason
    colour = styled(reason, "red") if event.kind == "Warning" else reason
    return [age_text(now() - event.time), event.about, colour, event.message]
