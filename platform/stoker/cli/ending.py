"""`pause`, `cancel` and `kill`: asking a run to rest, or to end, or ending it."""

import click

from stoker.cli.following import wait_for
from stoker.cli.reports import checkpoint_text, exit_code, run_json
from stoker.cli.session import Session, examples, format_option, run_argument, session_object
from stoker.cli.tables import print_json
from stoker.clusters import verbs
from stoker.tracking.record import RunFolder
from stoker.tracking.run import State

wait_option = click.option("--wait", "waits", is_flag=True, help="Return when nothing works on the run any more.")


@click.command(
    epilog=examples(
        "stoker pause @last             ask the newest run to rest; `stoker resume @last` goes on",
        "stoker pause digits --wait     and return when it does",
    )
)
@run_argument
@wait_option
@format_option
@session_object
def pause(session: Session, run: str, waits: bool, form: str) -> int:
    """Let a run rest at a checkpoint, for `stoker resume`.

    It saves a checkpoint and ends its processes: its cores, memory and GPUs are free.
    """
    folder = session.find(run)
    place = session.place_of(folder)
    verbs.pause(place, folder)
    record = wait_for(place, folder, None) if waits else folder.record()
    if form == "json":
        print_json(run_json(folder, record, session.settings))
    elif waits:
        where = f" at {checkpoint_text(record.status)}" if record.status.checkpoint_step else ""
        resumes = "" if record.state.final else f"; `stoker resume {record.id}` goes on"
        click.echo(f"{record.id} is {record.state}{where}{resumes}")
    else:
        click.echo(f"asked {record.id} to rest; `stoker wait {record.id}` returns when it does")
    return exit_code(record) if waits else 0


@click.command(
    epilog=examples(
        "stoker cancel @last            ask the newest run to end",
        "stoker cancel digits --wait    and return when it has ended",
        "stoker cancel sweep.3          ask one trial of a sweep to end; the others go on",
    )
)
@run_argument
@wait_option
@format_option
@session_object
def cancel(session: Session, run: str, waits: bool, form: str) -> None:
    """End a run, with a checkpoint.

    Its record, the metrics so far and its checkpoints stay. A run that is paused or
    interrupted ends at once.
    """
    folder = session.find(run)
    place = session.place_of(folder)
    unclosed = verbs.cancel(place, folder)
    _show_end(session, folder, unclosed, waits, form)


@click.command(
    epilog=examples(
        "stoker kill @last              end the newest run, whatever it is doing",
    )
)
@run_argument
@format_option
@session_object
def kill(session: Session, run: str, form: str) -> None:
    """End a run at once.

    Nothing waits for a checkpoint; the last one stays, and `stoker resume` goes on from it. `stoker cancel` is
    gentler.
    """
    folder = session.find(run)
    unclosed = verbs.kill(session.place_of(folder), folder)
    _show_end(session, folder, unclosed, waits=False, form=form)


def _show_end(session: Session, folder: RunFolder, unclosed: str, waits: bool, form: str) -> None:
    place = session.place_of(folder)
    record = wait_for(place, folder, None) if waits else folder.record()
    if unclosed:
        click.echo(f"MLflow does not know that it is {record.state}: {unclosed}", err=True)
    if form == "json":
        print_json(run_json(folder, record, session.settings))
    elif record.state is State.CANCELLED or waits:
        click.echo(f"{record.id} is {record.state}")
    else:
        click.echo(f"asked {record.id} to end; `stoker wait {record.id}` returns when it has")
