"""`pause`, `cancel` and `kill`: three ways to stop a run."""

import click

from stoker.cli.attach import wait_until_ended
from stoker.cli.session import Session, examples, format_option, run_argument, session_object
from stoker.cli.views.run_report import checkpoint_text, exit_code, run_json
from stoker.cli.views.tables import print_json
from stoker.clusters import verbs
from stoker.tracking.run import State
from stoker.tracking.run_folder import RunFolder

wait_option = click.option("--wait", "waits", is_flag=True, help="Return when the run has ended or is paused.")


@click.command(
    epilog=examples(
        "stoker pause @last             ask the newest run to pause; `stoker resume @last` continues it",
        "stoker pause digits --wait     and return when it is paused",
    )
)
@run_argument
@wait_option
@format_option
@session_object
def pause(session: Session, run: str, waits: bool, form: str) -> int:
    """Pause a run at a checkpoint, for `stoker resume`.

    The run saves a checkpoint and ends its processes, which frees its cores, memory and GPUs.
    """
    folder = session.find(run)
    cluster = session.cluster_of(folder)
    verbs.pause(cluster, folder)
    record = wait_until_ended(cluster, folder, None) if waits else folder.record()
    if form == "json":
        print_json(run_json(folder, record, session.settings))
    elif waits:
        where = f" at {checkpoint_text(record.status)}" if record.status.checkpoint_step else ""
        resumes = "" if record.state.final else f"; `stoker resume {record.id}` continues it"
        click.echo(f"{record.id} is {record.state}{where}{resumes}")
    else:
        click.echo(f"asked {record.id} to pause; `stoker wait {record.id}` returns when it has")
    return exit_code(record) if waits else 0


@click.command(
    epilog=examples(
        "stoker cancel @last            ask the newest run to end",
        "stoker cancel digits --wait    and return when it has ended",
        "stoker cancel sweep.3          ask one trial of a sweep to end; the others continue",
    )
)
@run_argument
@wait_option
@format_option
@session_object
def cancel(session: Session, run: str, waits: bool, form: str) -> None:
    """End a run after a checkpoint.

    Its record, the metrics so far and its checkpoints stay. A run that is paused or interrupted ends at once.
    """
    folder = session.find(run)
    unclosed = verbs.cancel(session.cluster_of(folder), folder)
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

    It saves no checkpoint; `stoker resume` continues from the last one. `stoker cancel` saves one first.
    """
    folder = session.find(run)
    unclosed = verbs.kill(session.cluster_of(folder), folder)
    _show_end(session, folder, unclosed, waits=False, form=form)


def _show_end(session: Session, folder: RunFolder, unclosed: str, waits: bool, form: str) -> None:
    record = wait_until_ended(session.cluster_of(folder), folder, None) if waits else folder.record()
    if unclosed:
        click.echo(f"MLflow does not show that it is {record.state}: {unclosed}", err=True)
    if form == "json":
        print_json(run_json(folder, record, session.settings))
    elif record.state is State.CANCELLED or waits:
        click.echo(f"{record.id} is {record.state}")
    else:
        click.echo(f"asked {record.id} to end; `stoker wait {record.id}` returns when it has")
