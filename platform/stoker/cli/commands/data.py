"""`data` and `init`: what is in a dataset, and a first job for it."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from stoker.cli.session import examples, format_option
from stoker.cli.views.tables import print_json, styled, table_text

if TYPE_CHECKING:
    from stoker.datasets.report.examination import Examined
    from stoker.datasets.report.report import ColumnReport

SHOWN_CLASSES = 20
source_argument = click.argument("source", metavar="PATH")
label_option = click.option("--label", metavar="COLUMN", help="The column to predict; default: guessed by its name.")
task_option = click.option("--task", metavar="TASK", help="What it is for; default: guessed from the columns.")
data_format_option = click.option(
    "--input-format", "data_format", metavar="FORMAT", help="How to read it; default: from its name."
)


@click.command(
    epilog=examples(
        "stoker data reviews.jsonl --label stars",
        "stoker data photos/ --sheet samples.png        also draws some of them",
        "stoker data digits -o json                     a built-in dataset",
        "stoker data s3://BUCKET/shards/ --index shards.json",
    )
)
@source_argument
@label_option
@task_option
@data_format_option
@click.option("--sheet", metavar="FILE.png", type=click.Path(path_type=Path, dir_okay=False), help="Draw some samples.")
@click.option(
    "--index",
    metavar="FILE.json",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Only count the samples of each tar archive of a WebDataset; put beside them, a run streams without counting.",
)
@format_option
def data(
    source: str,
    label: str | None,
    task: str | None,
    data_format: str | None,
    sheet: Path | None,
    index: Path | None,
    form: str,
) -> None:
    """Show what is in a dataset: columns, classes, missing values, sizes, duplicates, leaks between parts.

    A run makes the same checks: what is a warning here is a note of the plan.
    """
    if index:
        from stoker.datasets.feeding.shards import index_text
        from stoker.job.dataset import Dataset

        index.write_text(index_text(Dataset(source=source)), encoding="utf-8")
        click.echo(f"wrote {index}; put it beside the archives of {source}")
        return
    examined = _examined(source, label, task, data_format)
    if sheet:
        from stoker.inference.sheet import draw_sheet

        draw_sheet(examined, sheet)
        click.echo(f"drew some samples to {sheet}", err=True)
    if form == "json":
        print_json({"task": examined.task, **asdict(examined.report)})
    else:
        click.echo(report_text(examined))


@click.command(
    epilog=examples(
        "stoker init reviews.jsonl --label stars        writes reviews.yaml",
        "stoker init photos/ --output photos.yaml",
    )
)
@source_argument
@label_option
@task_option
@data_format_option
@click.option("--output", "target", metavar="FILE.yaml", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--force", is_flag=True, help="Write over a file that is there.")
@format_option
def init(
    source: str,
    label: str | None,
    task: str | None,
    data_format: str | None,
    target: Path | None,
    force: bool,
    form: str,
) -> None:
    """Write a commented job for a dataset; it trains as it stands."""
    examined = _examined(source, label, task, data_format)
    from stoker.datasets.report.examination import proposed_job
    from stoker.job.job import usable_name

    target = target or Path(f"{usable_name(Path(source).name.split('.')[0]) or 'job'}.yaml")
    if target.exists() and not force:
        raise click.UsageError(f"'{target}' is there already; name another with --output, or use --force")
    target.write_text(proposed_job(examined, source, str(target)), encoding="utf-8")
    if form == "json":
        print_json({"file": str(target), "task": examined.task, "notes": examined.report.warnings})
    else:
        click.echo(f"wrote {target} ({examined.task}{_label_text(examined)})")
        click.echo(f"next:\n  stoker plan {target}\n  stoker submit {target}")


def _examined(source: str, label: str | None, task: str | None, data_format: str | None) -> "Examined":
    """Read and examine a dataset.

    Raises:
        JobError: it cannot be read, or is of no use.

    """
    from stoker.datasets.report.examination import examine
    from stoker.job.dataset import Columns, Dataset
    from stoker.job.formats import FORMATS
    from stoker.job.task import TASKS

    if task is not None and task not in TASKS:
        raise click.BadParameter(f"'{task}' is none of {', '.join(TASKS)}", param_hint="'--task'")
    if data_format is not None and data_format not in FORMATS:
        raise click.BadParameter(f"'{data_format}' is none of {', '.join(FORMATS)}", param_hint="'--input-format'")
    dataset = Dataset.model_validate(
        {"source": source, "format": data_format, "columns": Columns(label=label).model_dump(exclude_none=True)}
    )
    return examine(dataset, task)


def _label_text(examined: "Examined") -> str:
    """Return what is predicted, and how to name another column if it is a guess."""
    label = examined.dataset.columns.label
    if not label:
        return ""
    return f" of '{label}'" + (", which is a guess: --label names another column" if examined.guessed else "")


def report_text(examined: "Examined") -> str:
    """Lay out a report."""
    report = examined.report
    head = f"{report.samples:,} samples for {examined.task}{_label_text(examined)}"
    head += f"; {report.duplicates:,} duplicates"
    dialect = f"\nread as: {report.dialect}" if report.dialect else ""
    blocks = [styled(head, "cyan") + dialect, _columns_text(report.columns)]
    names = list(report.parts)
    classes = list(dict.fromkeys(name for counts in report.parts.values() for name in counts))
    rows = [[name or "samples", *(f"{report.parts[part].get(name, 0):,}" for part in names)] for name in classes]
    if len(rows) > SHOWN_CLASSES:
        rows = [*rows[:SHOWN_CLASSES], [f"... {len(rows) - SHOWN_CLASSES} more", *[""] * len(names)]]
    blocks.append(table_text(["class" if classes != [""] else "part", *names], rows))
    if report.warnings:
        blocks.append("\n".join(f"- {warning}" for warning in report.warnings))
    return "\n\n".join(blocks)


def _columns_text(columns: "tuple[ColumnReport, ...]") -> str:
    rows = [
        [each.name, each.kind, f"{each.missing:,}", "" if each.distinct is None else f"{each.distinct:,}", each.summary]
        for each in columns
    ]
    return table_text(["column", "kind", "missing", "distinct", "values"], rows)
