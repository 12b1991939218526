"""`plan`: show what a job would train, on which data, for how long and where."""

from typing import TYPE_CHECKING

import click

from stoker.cli.job_argument import load, plan_for
from stoker.cli.session import (
    Session,
    cluster_option,
    examples,
    format_option,
    job_argument,
    session_object,
    set_option,
)
from stoker.cli.views.plan import plan_json, plan_text
from stoker.cli.views.tables import print_json
from stoker.clusters.new_run import Origin

if TYPE_CHECKING:
    from stoker.jobfile.loading import LoadedJob


@click.command(
    epilog=examples(
        "stoker plan jobs/vision/digits-cnn.yaml",
        "stoker plan jobs/vision/digits-cnn.yaml --set architecture.channels=[32,64] -o json",
        "stoker plan run:@last                the newest run's file",
        "stoker plan job.yaml --cluster prod --render | kubectl diff -f -",
    )
)
@job_argument
@set_option
@cluster_option
@click.option("--render", is_flag=True, help="Only print the Kubernetes objects that `submit` would create.")
@format_option
@session_object
def plan(session: Session, job: str, sets: tuple[str, ...], render: bool, form: str) -> None:
    """Show what a job would train, without training it.

    Shows the layers with their parameters, the memory, the parts of the data, the steps, and the defaults chosen.
    """
    loaded = load(session, job, sets)
    if render:
        _print_objects(session, loaded, form)
        return
    made = plan_for(session, loaded, _cluster_text(session))
    if form == "json":
        print_json(plan_json(made))
    else:
        click.echo(plan_text(made))


def _cluster_text(session: Session) -> str:
    """Return the cluster of new runs in words; empty for this machine."""
    if not session.remote:
        return ""
    name = session.settings.cluster
    return f"cluster '{name}' ({session.settings.cluster_named(name).where})"


def _print_objects(session: Session, loaded: "LoadedJob", form: str) -> None:
    if not session.remote:
        raise click.UsageError("--render needs a cluster: name one with --cluster")
    cluster = session.kubernetes(session.settings.cluster, "there are no Kubernetes objects to show")
    rayjob, inputs, _ = cluster.render(loaded.job, Origin(loaded.code))
    if form == "json":
        print_json([rayjob, *inputs])
    else:
        import yaml

        click.echo(yaml.safe_dump_all([rayjob, *inputs], sort_keys=False), nl=False)
