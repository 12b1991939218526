"""`validate`: show every mistake in a job file, in well under a second."""

import click

from stoker.cli.job_argument import load
from stoker.cli.session import Session, examples, format_option, job_argument, session_object, set_option
from stoker.cli.views.plan import job_summary
from stoker.cli.views.tables import print_json, styled


@click.command(
    epilog=examples(
        "stoker validate jobs/vision/digits-cnn.yaml",
        "stoker validate jobs/vision/digits-cnn.yaml --set training.optimizer.lr=0.01",
        "cat job.yaml | stoker validate -",
        "stoker validate run:@last          the file of the newest run",
    )
)
@job_argument
@set_option
@format_option
@session_object
def validate(session: Session, job: str, sets: tuple[str, ...], form: str) -> None:
    """Check a job file and show every mistake in it.

    Only file names, headers and first rows of the data are read; `stoker plan` reads all of it.
    """
    loaded = load(session, job, sets)
    if form == "json":
        content = loaded.job.model_dump(mode="json", by_alias=True, exclude_none=True)
        print_json({"file": loaded.origin, "problems": [], "job": content})
    else:
        click.echo(f"{loaded.origin}: {styled('fine', 'green')}\n  {job_summary(loaded.job)}")
