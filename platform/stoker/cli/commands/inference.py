"""`evaluate` and `predict`: use the model of a run."""

import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, cast

import click

from stoker.cli.session import Session, examples, format_option, run_argument, session_object
from stoker.cli.views.run_report import metric_table
from stoker.cli.views.tables import print_json
from stoker.tracking.run_lookup import run_with_model

if TYPE_CHECKING:
    from stoker.inference.model import Model, OutputKind
    from stoker.job.formats import Format
    from stoker.tasks.task import Answers, Task

input_format_option = click.option(
    "--input-format", metavar="FORMAT", help="How to read the input; default: from its name."
)
SUFFIXES = (".csv", ".parquet", ".jsonl", ".json")


def check_output(_context: click.Context, _parameter: click.Parameter, value: str | None) -> Path | None:
    """Check that an output file can be written, before anything is computed.

    Raises:
        BadParameter: its suffix is unknown, or its folder does not exist.

    """
    if value is None:
        return None
    path = Path(value)
    if path.suffix and path.suffix not in SUFFIXES and not path.is_dir():
        raise click.BadParameter(
            f"'{value}' should end in {', '.join(SUFFIXES[:-1])} or {SUFFIXES[-1]}, or be a folder"
        )
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
    model = load_model(session, run)
    from stoker.execution.start_model import classifier_model
    from stoker.inference.evaluation import evaluate as evaluate_model

    metrics = evaluate_model(model, source, part, kind, classifier_model(model.job), tell)
    if form == "json":
        print_json(metrics)
    else:
        click.echo(metric_table(metrics))


@click.command(
    epilog=examples(
        "stoker predict @last --input new.csv",
        "stoker predict digits --input images/ --output labels.csv",
        "stoker predict nuclei --input images/ --output masks/",
        "stoker predict cells --input images/ --output boxes.json    in the JSON of COCO",
        "stoker predict digits --input one.png --input clip.gif --output seen/",
        "stoker predict iris-1a2b3c4d --input new.parquet -o json",
        "stoker predict @last --input new.csv --output-kind code --output codes.parquet",
        "stoker predict sweep --input new.csv          with the best trial of a sweep; sweep.3 is its trial 3",
        "echo 'a fine film' | stoker predict reviews --input -",
    )
)
@run_argument
@click.option(
    "--input",
    "sources",
    metavar="PATH",
    required=True,
    multiple=True,
    help="A file, a folder or a pattern, or several of them; no label needed. Of an animated picture, each frame is "
    "predicted. - reads texts from the standard input, one a line.",
)
@input_format_option
@click.option(
    "--output",
    "target",
    metavar="PATH",
    callback=check_output,
    help=f"Write here instead: {', '.join(SUFFIXES)}, or a folder; .json is for boxes, as COCO writes them.",
)
@click.option(
    "--output-kind",
    type=click.Choice(["prediction", "code"]),
    default="prediction",
    show_default=True,
    help="A code is the network's compressed form of a sample, from a network that has `encode`.",
)
@format_option
@session_object
def predict(
    session: Session,
    run: str,
    sources: tuple[str, ...],
    input_format: str | None,
    target: Path | None,
    output_kind: "OutputKind",
    form: str,
) -> None:
    """Predict with a run's model.

    The result is a table, one row for each row or image of the input, or for each box that is found. In a folder, there
    are also the images of the answers, such as masks, and in its folder `annotated` the pictures with the answers drawn
    into them.
    """
    input_kind = check_format(input_format)
    model = load_model(session, run)
    from stoker.inference.prediction import check_source_exists
    from stoker.inference.prediction import predict as predict_with

    draw = target is not None and target.suffix not in SUFFIXES
    with ExitStack() as inputs:
        paths = [inputs.enter_context(input_file(source, input_format)) for source in sources]
        for path in paths:
            check_source_exists(path)
        answers = (predict_with(model, path, input_kind, output_kind, tell, draw) for path in paths)
        _show_answers(chain.from_iterable(answers), model.task, target, form)


def tell(note: str) -> None:
    """Print a note beside the result."""
    click.echo(f"note: {note}", err=True)


def _show_answers(answers: "Iterator[Answers]", task: "Task", target: Path | None, form: str) -> None:
    """Print answers, or write them to a file or a folder."""
    from stoker.inference.model import concatenated
    from stoker.inference.output import write_answers, write_folder

    if target and target.suffix not in SUFFIXES:
        count = write_folder(answers, target, task)
        click.echo(f"wrote {count:,} answers to {target}/", err=True)
        return
    together = concatenated(list(answers))
    if together.images is not None and "prediction" not in together.table:
        click.echo("the answers are images: name a folder with --output to have them written", err=True)
    if target:
        count = write_answers(together.table, task, target)
        click.echo(f"wrote {count:,} rows to {target}", err=True)
    elif form == "json":
        click.echo(task.listed(together.table).to_json(orient="records", indent=2))
    else:
        click.echo(task.listed(together.table).to_string(index=False))


@contextmanager
def input_file(source: str, input_format: str | None) -> Iterator[str]:
    """Yield the path of an input; that of `-` is a temporary file with what the standard input has."""
    if source != "-":
        yield source
        return
    with tempfile.TemporaryDirectory(prefix="stoker-input-") as folder:
        path = Path(folder) / f"input.{input_format or 'txt'}"
        path.write_bytes(sys.stdin.buffer.read())
        yield str(path)


def check_format(name: str | None) -> "Format | None":
    """Check the name of a format.

    Raises:
        BadParameter: there is no such format.

    """
    from stoker.job.formats import FORMATS

    if name is not None and name not in FORMATS:
        raise click.BadParameter(f"'{name}' is none of {', '.join(FORMATS)}", param_hint="'--input-format'")
    return cast("Format | None", name)


def load_model(session: Session, run: str) -> "Model":
    """Fetch and load the model of a run, or of the best trial of a sweep.

    Raises:
        NotFound: there is no such run, or it has no model.

    """
    folder = run_with_model(session.find(run))
    session.cluster_of(folder).fetch_model(folder)
    record = folder.record()
    from stoker.inference.model import Model
    from stoker.tracking.models import fetch_model

    return Model.load(fetch_model(record, session.settings))
