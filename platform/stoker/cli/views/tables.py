"""Tables and JSON on stdout with click only: everyday commands import nothing heavier."""

import json
import math
import os
import sys
from collections.abc import Sequence
from typing import Any

import click

STATE_COLORS = {
    "STARTING": "yellow",
    "RUNNING": "cyan",
    "RETRYING": "yellow",
    "PAUSED": "blue",
    "INTERRUPTED": "magenta",
    "SUCCEEDED": "green",
    "FAILED": "red",
    "CANCELLED": "yellow",
    "PRUNED": "bright_black",
}


def styled(text: str, color: str | None = None, bold: bool = False) -> str:
    """Return a coloured text; `click.echo` removes the colour if the output is not a terminal."""
    if os.environ.get("NO_COLOR"):
        return text
    return click.style(text, fg=color, bold=bold or None)


def state_text(state: str) -> str:
    """Return a state in its colour."""
    return styled(state, STATE_COLORS.get(state))


def table_text(head: Sequence[str], rows: Sequence[Sequence[str]], right: Sequence[str] = ()) -> str:
    """Return a table; the columns named in `right` are aligned to the right."""
    cells = [list(head), *[list(row) for row in rows]]
    widths = [max(len(click.unstyle(row[column])) for row in cells) for column in range(len(head))]
    lines = []
    for number, row in enumerate(cells):
        parts = []
        for name, text, width in zip(head, row, widths, strict=True):
            space = " " * (width - len(click.unstyle(text)))
            shown = styled(text, bold=True) if number == 0 else text
            parts.append(space + shown if name in right else shown + space)
        lines.append("  ".join(parts).rstrip())
    return "\n".join(lines)


def table_width(head: Sequence[str], rows: Sequence[Sequence[str]]) -> int:
    """Return the width of a table."""
    return max(len(click.unstyle(line)) for line in table_text(head, rows).splitlines())


def fields_text(fields: Sequence[tuple[str, str]]) -> str:
    """Return a table of names and values, without the empty ones."""
    shown = [(name, value) for name, value in fields if value]
    width = max((len(name) for name, _ in shown), default=0)
    return "\n".join(f"{styled(name.ljust(width), bold=True)}  {value}" for name, value in shown)


def labelled_once(label: str, lines: Sequence[str]) -> list[tuple[str, str]]:
    """Return fields of which the first alone has a name."""
    return [(" " if number else label, line) for number, line in enumerate(lines)]


def terminal_width() -> int | None:
    """Return the width of the terminal; None if the output is not a terminal."""
    if not sys.stdout.isatty():
        return None
    if columns := os.environ.get("COLUMNS", ""):
        return int(columns) if columns.isdecimal() else None
    return os.get_terminal_size(sys.stdout.fileno()).columns or None


def print_json(value: Any, indent: int | None = 2) -> None:
    """Print a value as strict JSON: NaN and infinity become null."""
    click.echo(json.dumps(_finite(value), indent=indent, ensure_ascii=False))


def _finite(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    return value
