"""`logs` and `wait`: staying with a run until it ends."""

import io
import sys
import time
from collections.abc import Iterator
from contextlib import suppress

import click

from stoker.cli.outcome import show_outcome
from stoker.cli.reports import exit_code, run_json
from stoker.cli.session import Session, cluster_option, examples, format_option, run_argument, session_object
from stoker.cli.tables import print_json
from stoker.cli.words import duration_text, parse_seconds
from stoker.clusters.cluster import Cluster
from stoker.clusters.polling import poll
from stoker.errors import Unreachable, WaitTimedOut
from stoker.execution.contract import worker_name
from stoker.tracking.record import RunFolder, follow_lines
from stoker.tracking.run import RunRecord


def parse_timeout(_context: click.Context, _parameter: click.Parameter, value: str | None) -> float | None:
    """Read the length of time of an option.

    Raises:
        BadParameter: it is none.

    """
    try:
        return None if value is None else parse_seconds(value)
    except ValueError as error:
        raise click.BadParameter(str(error)) from error


@click.command(
    epilog=examples(
        "stoker logs @last            all that the newest run printed",
        "stoker logs -n 20 digits     the last 20 lines",
        "stoker logs -f digits        from the beginning, then on until the run ends",
        "stoker logs --rank 1 digits  what its second worker printed",
    )
)
@run_argument
@click.option("-f", "--follow", "on", is_flag=True, help="Go on until the run ends.")
@click.option("-n", "--lines", type=click.IntRange(min=0), help="Only the last lines.")
@click.option("--rank", type=click.IntRange(min=0), help="Only what this worker printed, counted from 0.")
@cluster_option
@format_option
@session_object
def logs(session: Session, run: str, on: bool, lines: int | None, rank: int | None, form: str) -> None:
    """Print what a run printed.

    With -o json each line is an object of its own.
    """
    folder = session.find(run)
    place = session.place_of(folder)
    place.fetch_log(folder)
    position = 0 if lines is None else _position_of_last(folder, lines, "" if rank is None else worker_name(rank))
    for line in _lines(place, folder, position, on):
        if rank is None or line.startswith(f"({worker_name(rank)} "):
            _print_line(line, form)


@click.command(
    epilog=examples(
        "stoker wait @last && stoker predict @last --input new.csv",
        "stoker wait digits --timeout 10m     gives up after ten minutes, with exit code 5",
    )
)
@run_argument
@click.option("--timeout", metavar="TIME", callback=parse_timeout, help="Give up after this time: 90s, 10m, 2h.")
@format_option
@session_object
def wait(session: Session, run: str, timeout: float | None, form: str) -> int:
    """Wait until a run ends; exit as it did.

    A run that is paused has ended for now. Exit codes: 0 succeeded or paused, 1 failed, cancelled or interrupted, 5
    still going when the time was over.
    """
    folder = session.find(run)
    record = wait_for(session.place_of(folder), folder, timeout)
    if form == "json":
        print_json(run_json(folder, record, session.settings))
    else:
        show_outcome(folder, record, session.settings)
    return exit_code(record)


def wait_for(cluster: Cluster, folder: RunFolder, timeout_s: float | None) -> RunRecord:
    """Return a run's record as soon as nobody works on the run any more.

    Raises:
        WaitTimedOut: it takes longer.

    """
    deadline = None if timeout_s is None else time.monotonic() + timeout_s
    for record in poll(cluster, folder):
        if record.state.ended:
            break
        if deadline is not None and time.monotonic() >= deadline:
            time_text = duration_text(timeout_s or 0)
            raise WaitTimedOut(f"{record.id} is still {record.state} after {time_text}; it goes on")
    return record


def _lines(place: Cluster, folder: RunFolder, position: int, on: bool) -> Iterator[str]:
    """Yield the log from a position on; all of it is there before the last look at a run that has ended."""
    for record in poll(place, folder) if on else [None]:
        if record and not record.state.ended:
            with suppress(Unreachable):  # asked again at the next look
                place.fetch_log(folder)
        for line, behind in follow_lines(folder.log, position):
            position = behind
            yield line
        sys.stdout.flush()
    if rest := _rest(folder, position):
        yield rest


def _rest(folder: RunFolder, position: int) -> str:
    """Read the line that was never finished."""
    if not folder.log.exists():
        return ""
    with folder.log.open("rb") as file:
        file.seek(position)
        return file.read().decode("utf-8", errors="replace")


def _position_of_last(folder: RunFolder, lines: int, worker: str = "") -> int:
    """Find the byte at which the last lines begin, or the last of a worker."""
    content = folder.log.read_bytes() if folder.log.exists() else b""
    starts, position = [], 0
    for line in io.BytesIO(content):
        if not worker or line.startswith(f"({worker} ".encode()):
            starts.append(position)
        position += len(line)
    return starts[-lines:][0] if starts and lines else position


def _print_line(line: str, form: str) -> None:
    if form == "json":
        print_json({"line": line}, indent=None)
    else:
        click.echo(line)
