"""`list`, `schema` and `version`: what a job can say, and what is installed."""

import platform
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from stoker import __version__
from stoker.cli.session import examples, format_option
from stoker.cli.tables import fields_text, print_json, styled, table_text

if TYPE_CHECKING:
    from stoker.jobfile.documentation import KeyDocument, KeyLine

TOPICS = ("tasks", "families", "datasets", "formats", "optimizers", "schedules")
DEPENDENCIES = ("ray", "torch", "mlflow")


@click.command(
    "list",
    epilog=examples(
        "stoker list                  everything",
        "stoker list datasets         what trains without a download",
        "stoker list tasks -o json",
    ),
)
@click.argument("topic", type=click.Choice(TOPICS), required=False)
@format_option
def list_command(topic: str | None, form: str) -> None:
    """List what a job can name: tasks, families, datasets, formats, optimizers, schedules."""
    from stoker.cli.offerings import OFFERINGS

    tables = {name: OFFERINGS[name]() for name in ([topic] if topic else TOPICS)}
    if form == "json":
        print_json(tables[topic] if topic else tables)
        return
    for number, (name, rows) in enumerate(tables.items()):
        title = "" if topic else "\n" * bool(number) + styled(name.upper(), "cyan") + "\n"
        click.echo(title + table_text(list(rows[0]), [[_cell(value) for value in row.values()] for row in rows]))


@click.command(
    epilog=examples(
        "stoker schema training.optimizer         what can stand there",
        "stoker schema > job.schema.json          for an editor that completes YAML",
    )
)
@click.argument("key", metavar="[KEY]", required=False)
@format_option
def schema(key: str | None, form: str) -> None:
    """Explain a key of the job file, or print its JSON Schema.

    With the schema in a file, a first line `# yaml-language-server: $schema=./job.schema.json` lets an editor complete
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
    """Show the versions of Stoker and of what it stands on."""
    versions = {"stoker": __version__, "python": platform.python_version(), **_installed()}
    if form == "json":
        print_json(versions)
    else:
        click.echo(fields_text(list(versions.items())))


def key_text(document: "KeyDocument") -> str:
    """Lay out the documentation of a key."""
    facts = fields_text([("type", document.type), ("default", document.default)])
    example = "\n".join(f"  {line}" for line in document.example.splitlines())
    blocks = [styled(document.path, "cyan"), document.documentation, facts, f"Example:\n{example}"]
    if document.keys:
        blocks.append(f"Keys:\n{_key_table(document.keys)}")
    for choice in document.choices:
        keys = tuple(line for line in choice.keys if line.type != choice.name)  # the tag says nothing more
        blocks.append(f"{styled(choice.name, 'cyan')}: {choice.documentation}\n{_key_table(keys)}".rstrip())
    return "\n\n".join(filter(None, blocks))


def _key_table(lines: "tuple[KeyLine, ...]") -> str:
    rows = [[f"  {line.name}", line.type, line.default, line.documentation] for line in lines]
    return table_text(["  key", "type", "default", "meaning"], rows) if rows else ""


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
