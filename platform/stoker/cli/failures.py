"""How failures are shown: a few aligned lines on stderr, or one JSON object on stdout."""

from collections.abc import Sequence
from dataclasses import asdict

import click

from stoker.cli.tables import print_json
from stoker.errors import JobError, Problem, StokerError

DEBUG = "set STOKER_DEBUG=1 for the traceback"


def asks_for_json(arguments: Sequence[str]) -> bool:
    """Look for `-o json` without parsing, since what cannot be parsed is reported as asked for, too."""
    pairs = zip(["", *arguments], arguments, strict=False)
    return any(
        text in ("-ojson", "--format=json") or (text == "json" and flag in ("-o", "--format")) for flag, text in pairs
    )


def show_failure(error: StokerError, as_json: bool) -> None:
    """Show what Stoker says instead of a traceback."""
    if as_json:
        problems = [asdict(problem) for problem in error.problems] if isinstance(error, JobError) else []
        origin = error.origin if isinstance(error, JobError) else ""
        _print_error(type(error).__name__, str(error), error.exit_code, origin=origin, problems=problems)
    elif isinstance(error, JobError):
        click.echo(job_error_text(error), err=True)
    else:
        click.echo(f"error: {error}", err=True)


def show_usage(error: click.ClickException, as_json: bool) -> None:
    """Show that a command was typed wrongly."""
    if as_json:
        _print_error(type(error).__name__, error.format_message(), error.exit_code)
    else:
        error.show()


def show_internal(error: Exception, as_json: bool) -> None:
    """Show what nobody foresaw, in one line; what the system refuses by the file's name."""
    if isinstance(error, OSError) and error.filename is not None:
        message = f"cannot use {error.filename}: {error.strerror}"
    else:
        message = f"internal error: {type(error).__name__}: {error}; {DEBUG}"
    if as_json:
        _print_error(type(error).__name__, message, 1)
    else:
        click.echo(message if message.startswith("internal") else f"error: {message}", err=True)


def job_error_text(error: JobError) -> str:
    """Lay out a job's problems: place, key, message; a file's name only where it is another one than the job's."""
    alone = error.problems[0] if len(error.problems) == 1 else None
    if alone and not (error.origin or alone.path or alone.line):
        return f"error: {alone.message}"
    number = f"{len(error.problems)} problem{'' if alone else 's'}"
    places = _places(error.problems, error.origin)
    place_width = max(map(len, places))
    path_width = max(len(problem.path) for problem in error.problems)
    lines = [f"{error.origin}: {number}" if error.origin else number]
    for problem, place in zip(error.problems, places, strict=True):
        columns = [place.ljust(place_width)] * bool(place_width) + [problem.path.ljust(path_width)] * bool(path_width)
        indent = "  " + "".join(f"{column}  " for column in columns)
        first, *more = problem.message.splitlines() or [""]
        lines += [indent + first, *(" " * len(indent) + line for line in more)]
    return "\n".join(lines)


def _places(problems: Sequence[Problem], origin: str) -> list[str]:
    digits = max(len(str(problem.line)) for problem in problems)
    places = []
    for problem in problems:
        place = f"{problem.line:>{digits}}:{problem.column} " if problem.line else ""
        file = problem.file if problem.file != origin else ""
        places.append(f"{file}:{place.strip()}".rstrip(":") if file else place.rstrip())
    return places


def _print_error(kind: str, message: str, exit_code: int, origin: str = "", problems: Sequence[object] = ()) -> None:
    content = {"type": kind, "message": message, "exit_code": exit_code, "origin": origin, "problems": list(problems)}
    print_json({"error": content})
