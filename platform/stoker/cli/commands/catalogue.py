"""`list`, `schema` and `version`: what a job file can contain, and what is installed."""

import platform
from dataclasses import asdict
from typing import Any

import click

from stoker import __version__
from stoker.cli.session import examples, format_option
from stoker.cli.views.schema import key_text
from stoker.cli.views.tables import fields_text, print_json, styled, table_text

TOPICS = ("tasks", "families", "datasets", "formats", "optimizers", "schedules")
DEPENDENCIES = ("ray", "torch", "mlflow")


@click.command(
    "list",
    epilog=examples(
        "stoker list                  everything",
        "stoker list datasets         the built-in ones, which need no download",
        "stoker list tasks -o json",
    ),
)
@click.argument("topic", type=click.Choice(TOPICS), required=False)
@format_option
def list_command(topic: str | None, form: str) -> None:
    """List what a job can name: tasks, families, datasets, formats, optimizers, schedules."""
    from stoker.cli.views.offerings import OFFERINGS

    tables = {name: OFFERINGS[name]() for name in ([topic] if topic else TOPICS)}
    if form == "json":
        print_json(tables[topic] if topic else tables)
        return
    for number, (name, rows) in enumerate(tables.items()):
        title = "" if topic else "\n" * bool(number) + styled(name.upper(), "cyan") + "\n"
        click.echo(title + table_text(list(rows[0]), [[_cell(value) for value in row.values()] for row in rows]))


@click.command(
    epilog=examples(
        "stoker schema training.optimizer         its type, default and choices",
        "stoker schema > job.schema.json          for an editor that completes YAML",
    )
)
@click.argument("key", metavar="[KEY]", required=False)
@format_option
def schema(key: str | None, form: str) -> None:
    """Explain a key of the job file, or print its JSON Schema.

    With the schema in a file, a first line `# yaml-language-server: $schema=./job.schema.json` makes an editor complete
    and check the keys.
    """
    from stoker.jobfile.documentation import job_schema, key_document

    if key is None:
        print_json(job_schema())
    elif form == "json":
        print_json(asdict(key_document(key)))
    else:
        click.echo(key_text(key_document(key)))


@click.command(epilog=examples("stoker version", "stoker version -o json"))
@format_option
def version(form: str) -> None:
    """Show the versions of Stoker and its dependencies."""
    versions = {"stoker": __version__, "python": platform.python_version(), **_installed()}
    if form == "json":
        print_json(versions)
    else:
        click.echo(fields_text(list(versions.items())))


def _installed() -> dict[str, str]:
    from importlib import metadata

    found = {}
    for name in DEPENDENCIES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = "not installed"
    return found


def _cell(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
