"""`evaluate` and `predict`: use the model of a run."""

from pathlib import Path
from typing import TYPE_CHECKING, cast

import click

from stoker.cli.session import Session, examples, format_option, run_argument, session_object
from stoker.cli.views.run_report import metric_table
from stoker.cli.views.tables import print_json
from stoker.tracking.history import with_model

if TYPE_CHECKING:
    import pandas as pd

    from stoker.inference.model import Model
    from stoker.job.dataset import Format

input_format_option = click.option(
    "--input-format", metavar="FORMAT", help="How to read the input; default: from its name."
)
SUFFIXES = (".csv", ".parquet", ".jsonl")


def check_output(_context: click.Context, _parameter: click.Parameter, value: str | None) -> Path | None:
    """Check that an output file can be written, before anything is computed.

    Raises:
        BadParameter: its suffix is unknown, or its folder does not exist.

    """
    if value is None:
        return None
    path = Path(value)
    if path.suffix not in SUFFIXES:
        raise click.BadParameter(f"'{value}' should end in {', '.join(SUFFIXES[:-1])} or {SUFFIXES[-1]}")
    if not path.absolute().parent.is_dir():
        raise click.BadParameter(f"there is no folder '{path.parent}'")
    return path


@click.command(
    epilog=examples(
        "stoker evaluate @last                        on the test part of its own data",
        "stoker evaluate digits --part val",
        "stoker evaluate digits --input new.csv       on other data, which has the label, too",
    )
)
@run_argument
@click.option("--input", "source", metavar="PATH", help="Other data than the run's own.")
@input_format_option
@click.option(
    "--part", type=click.Choice(["test", "val", "train"]), default="test", show_default=True, help="Of its own data."
)
@format_option
@session_object
def evaluate(session: Session, run: str, source: str | None, input_format: str | None, part: str, form: str) -> None:
    """Measure a run's model on a part of its data, or on other data."""
    kind = check_format(input_format)
    model = _load_model(session, run)
    from stoker.inference.evaluation import evaluate as evaluate_model

    metrics = evaluate_model(model, source, part, kind)
    if form == "json":
        print_json(metrics)
    else:
        click.echo(metric_table(metrics))


@click.command(
    epilog=examples(
        "stoker predict @last --input new.csv",
        "stoker predict digits --input pictures/ --output labels.csv",
        "stoker predict iris-1a2b3c4d --input new.parquet -o json",
        "stoker predict sweep --input new.csv          with the best trial of a sweep; sweep.3 is its trial 3",
    )
)
@run_argument
@click.option(
    "--input", "source", metavar="PATH", required=True, help="A file, a folder or a pattern; no label needed."
)
@input_format_option
@click.option(
    "--output", "target", metavar="FILE", callback=check_output, help=f"Write here instead: {', '.join(SUFFIXES)}."
)
@format_option
@session_object
def predict(session: Session, run: str, source: str, input_format: str | None, target: Path | None, form: str) -> None:
    """Predict with a run's model.

    The result is a table, one row for each row or picture of the input.
    """
    kind = check_format(input_format)
    model = _load_model(session, run)
    from stoker.inference.prediction import predict as predict_with

    table = predict_with(model, source, kind)
    if target:
        _write(table, target)
        click.echo(f"wrote {len(table):,} rows to {target}", err=True)
    elif form == "json":
        click.echo(table.to_json(orient="records", indent=2))
    else:
        click.echo(table.to_string(index=False))


def check_format(name: str | None) -> "Format | None":
    """Check the name of a format.

    Raises:
        BadParameter: there is no such format.

    """
    from stoker.job.dataset import FORMATS

    if name is not None and name not in FORMATS:
        raise click.BadParameter(f"'{name}' is none of {', '.join(FORMATS)}", param_hint="'--input-format'")
    return cast("Format | None", name)


def _load_model(session: Session, run: str) -> "Model":
    folder = with_model(session.find(run))
    session.cluster_of(folder).fetch_model(folder)
    record = folder.record()
    from stoker.inference.model import Model
    from stoker.tracking.models import fetch_model

    return Model.load(fetch_model(record, session.settings))


def _write(table: "pd.DataFrame", target: Path) -> None:
    """Write a table whole or not at all."""
    draft = target.with_name(f".{target.name}.draft")
    try:
        if target.suffix == ".csv":
            table.to_csv(draft, index=False)
        elif target.suffix == ".parquet":
            table.to_parquet(draft, index=False)
        else:
            table.to_json(draft, orient="records", lines=True)
        draft.replace(target)
    finally:
        draft.unlink(missing_ok=True)
