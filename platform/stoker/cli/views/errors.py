"""Errors as a few aligned lines on stderr, or as one JSON object on stdout."""

from collections.abc import Sequence
from dataclasses import asdict

import click

from stoker.cli.views.tables import print_json
from stoker.errors import JobError, Problem, StokerError

DEBUG = "set STOKER_DEBUG=1 for the traceback"


def asks_for_json(arguments: Sequence[str]) -> bool:
    """Return whether `-o json` was given, without parsing: errors of parsing are also reported as JSON."""
    pairs = zip(["", *arguments], arguments, strict=False)
    return any(
        text in ("-ojson", "--format=json") or (text == "json" and flag in ("-o", "--format")) for flag, text in pairs
    )


def show_error(error: StokerError, as_json: bool) -> None:
    """Print an error of Stoker without a traceback."""
    if as_json:
        problems = [asdict(problem) for problem in error.problems] if isinstance(error, JobError) else []
        origin = error.origin if isinstance(error, JobError) else ""
        _print_error(type(error).__name__, str(error), error.exit_code, origin=origin, problems=problems)
    elif isinstance(error, JobError):
        click.echo(job_error_text(error), err=True)
    else:
        click.echo(f"error: {error}", err=True)


def show_usage_error(error: click.ClickException, as_json: bool) -> None:
    """Print an error in the command line."""
    if as_json:
        _print_error(type(error).__name__, error.format_message(), error.exit_code)
    else:
        error.show()


def show_unexpected_error(error: Exception, as_json: bool) -> None:
    """Print an unexpected error in one line; one of the file system with the file's name."""
    if isinstance(error, OSError) and error.filename is not None:
        message = f"cannot use {error.filename}: {error.strerror}"
    else:
        message = f"internal error: {type(error).__name__}: {error}; {DEBUG}"
    if as_json:
        _print_error(type(error).__name__, message, 1)
    else:
        click.echo(message if message.startswith("internal") else f"error: {message}", err=True)


def job_error_text(error: JobError) -> str:
    """Return a table of a job's problems: place, key, message; with a file name only for files other than the job's."""
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
