"""`logs` and `wait`: print the log of a run, and wait for its end."""

import io
import re
import sys
from collections.abc import Iterator
from contextlib import suppress

import click

from stoker.cli.attach import wait_until_ended
from stoker.cli.session import Session, cluster_option, examples, format_option, run_argument, session_object
from stoker.cli.views.log_lines import RayLines
from stoker.cli.views.outcome import show_outcome
from stoker.cli.views.run_report import exit_code, run_json
from stoker.cli.views.tables import print_json
from stoker.clusters.cluster import Cluster
from stoker.clusters.polling import poll
from stoker.errors import Unreachable
from stoker.execution.contract import worker_name
from stoker.tracking.run_folder import RunFolder, follow_lines

SECONDS = {"": 1, "s": 1, "sec": 1, "m": 60, "min": 60, "h": 3600, "d": 86400}


def parse_timeout(_context: click.Context, _parameter: click.Parameter, value: str | None) -> float | None:
    """Return the seconds of an option's duration.

    Raises:
        BadParameter: it is not a duration.

    """
    try:
        return None if value is None else parse_seconds(value)
    except ValueError as error:
        raise click.BadParameter(str(error)) from error


def parse_seconds(text: str) -> float:
    """Return the seconds of a duration: `90`, `90s`, `10m`, `10 min`, `2h`, `1d`.

    Raises:
        ValueError: the text is not a duration.

    """
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([a-z]*)", text.strip())
    if match is None or match[2] not in SECONDS:
        raise ValueError(f"'{text}' is not a duration (examples: 90s, 10m, 2h)")
    return float(match[1]) * SECONDS[match[2]]


@click.command(
    epilog=examples(
        "stoker logs @last            the whole log of the newest run",
        "stoker logs -n 20 digits     the last 20 lines",
        "stoker logs -f digits        the log so far, then new lines until the run ends",
        "stoker logs --rank 1 digits  what its second worker printed",
    )
)
@run_argument
@click.option("-f", "--follow", "on", is_flag=True, help="Print new lines until the run ends.")
@click.option("-n", "--lines", type=click.IntRange(min=0), help="Only this many last lines.")
@click.option("--rank", type=click.IntRange(min=0), help="Only the lines of this worker; the first is 0.")
@click.option("--all", "everything", is_flag=True, help="Also what Ray says about its own processes and nodes.")
@cluster_option
@format_option
@session_object
def logs(
    session: Session, run: str, on: bool, lines: int | None, rank: int | None, everything: bool, form: str
) -> None:
    """Print the log of a run.

    With -o json each line is a JSON object.
    """
    folder = session.find(run)
    cluster = session.cluster_of(folder)
    cluster.fetch_log(folder)
    start = "" if rank is None else f"({worker_name(rank)} "
    position = 0 if lines is None else _position_of_last(folder, lines, start, everything)
    ray = RayLines()
    for line in _lines(cluster, folder, position, on):
        if line.startswith(start) and (everything or not ray.is_rays(line)):
            _print_line(line, form)


@click.command(
    epilog=examples(
        "stoker wait @last && stoker predict @last --input new.csv",
        "stoker wait digits --timeout 10m     exits with code 5 after ten minutes",
    )
)
@run_argument
@click.option("--timeout", metavar="TIME", callback=parse_timeout, help="Stop waiting after this time: 90s, 10m, 2h.")
@format_option
@session_object
def wait(session: Session, run: str, timeout: float | None, form: str) -> int:
    """Wait until a run ends, and exit with its code.

    A paused run counts as ended. Exit codes: 0 succeeded or paused, 1 failed, cancelled or interrupted, 5 timed out.
    """
    folder = session.find(run)
    record = wait_until_ended(session.cluster_of(folder), folder, timeout)
    if form == "json":
        print_json(run_json(folder, record, session.settings))
    else:
        show_outcome(folder, record, session.settings)
    return exit_code(record)


def _lines(cluster: Cluster, folder: RunFolder, position: int, on: bool) -> Iterator[str]:
    """Yield the lines of the log from a byte position on; with `on`, until the run has ended."""
    for record in poll(cluster, folder) if on else [None]:
        if record and not record.state.ended:
            with suppress(Unreachable):  # tried again at the next poll
                cluster.fetch_log(folder)
        for line, end in follow_lines(folder.log, position):
            position = end
            yield line
        sys.stdout.flush()
    if rest := _rest(folder, position):
        yield rest


def _rest(folder: RunFolder, position: int) -> str:
    """Return the unfinished last line."""
    if not folder.log.exists():
        return ""
    with folder.log.open("rb") as file:
        file.seek(position)
        return file.read().decode("utf-8", errors="replace")


def _position_of_last(folder: RunFolder, lines: int, start: str, everything: bool) -> int:
    """Return the byte position of the last lines that begin like this, with or without Ray's own."""
    content = folder.log.read_bytes() if folder.log.exists() else b""
    starts, position, ray = [], 0, RayLines()
    for line in io.BytesIO(content):
        text = line.decode("utf-8", errors="replace")
        if text.startswith(start) and (everything or not ray.is_rays(text)):
            starts.append(position)
        position += len(line)
    return starts[-lines:][0] if starts and lines else position


def _print_line(line: str, form: str) -> None:
    if form == "json":
        print_json({"line": line}, indent=None)
    else:
        click.echo(line)
