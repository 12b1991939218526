"""`export`: write the model of a run for other programs."""

from pathlib import Path

import click

from stoker.cli.commands.inference import load_model
from stoker.cli.session import Session, examples, format_option, run_argument, session_object
from stoker.cli.views.tables import print_json


@click.command(
    epilog=examples(
        "stoker export reviews --output my-model/             for transformers, or its adapters for peft",
        "stoker export digits --output my-model/              any other network, as a program of torch.export",
        "stoker export @last --output my-model/ --merge       with the adapters merged into the weights",
        "stoker export sweep.3 --output my-model/ -o json     of trial 3 of a sweep",
    )
)
@run_argument
@click.option(
    "--output",
    "target",
    metavar="FOLDER",
    required=True,
    type=click.Path(path_type=Path, file_okay=False),
    help="A new folder for the files.",
)
@click.option("--merge", is_flag=True, help="Add what LoRA adapters have learnt to the weights of the model itself.")
@format_option
@session_object
def export(session: Session, run: str, target: Path, merge: bool, form: str) -> None:
    """Write a run's model in a format that other programs load.

    A pretrained model becomes a folder of Hugging Face's transformers, its adapters one of peft, any other network a
    program of torch.export. The Python code that loads it is printed.
    """
    model = load_model(session, run)
    from stoker.inference.export import export as export_model

    code = export_model(model, target, merge)
    if form == "json":
        print_json({"folder": str(target), "files": sorted(each.name for each in target.iterdir()), "code": code})
    else:
        click.echo(f"wrote the model to {target}/; in Python:", err=True)
        click.echo(code)
