"""`cluster add`, `ls`, `rm`: the clusters that runs can go to, as the config file has them."""

import click

from stoker.cli.session import Session, examples, format_option, session_object
from stoker.cli.tables import fields_text, print_json, table_text
from stoker.config_file import add_cluster, config_path, remove_cluster
from stoker.errors import JobError, NotFound, Problem, Unreachable
from stoker.settings import HERE, ClusterSettings

HEAD = ("cluster", "context", "namespace", "")


@click.group(
    epilog=examples(
        "stoker cluster add prod --kube-context prod --namespace stoker",
        "stoker submit jobs/digits-cnn.yaml --cluster prod",
    )
)
def cluster() -> None:
    """Add, list or remove the clusters that runs can go to."""


@cluster.command(
    epilog=examples(
        "stoker cluster add prod --kube-context prod --namespace stoker",
        "stoker cluster add lab --default      the current context; new runs go there from now on",
    )
)
@click.argument("name")
@click.option("--kube-context", default="", metavar="CONTEXT", help="Of the kubeconfig.  [default: its current one]")
@click.option("--namespace", default="stoker", show_default=True, help="Where the chart is installed.")
@click.option("--default", "is_default", is_flag=True, help="Let new runs go there unless --cluster says otherwise.")
@format_option
@session_object
def add(session: Session, name: str, kube_context: str, namespace: str, is_default: bool, form: str) -> None:
    """Check that a cluster takes runs from here, and write it into the config file.

    Nothing is written where it does not answer, has no chart in that namespace, or does not let you submit.
    """
    from stoker.clusters.kube_api import KubeApi

    if name in (HERE, "") or name in session.settings.clusters:
        message = f"'{name}' is taken; `stoker cluster rm {name}` first" if name != HERE else "is this machine"
        raise JobError([Problem("", message)])
    api = KubeApi(ClusterSettings(name, kube_context, namespace))
    profile = api.profile()
    if lacking := api.lacking():
        raise Unreachable(
            f"namespace '{namespace}' has the chart, but you may not {', '.join(lacking)} there; "
            "ask its administrator for the role stoker-submitter"
        )
    path = add_cluster(name, {"kube_context": kube_context, "namespace": namespace}, is_default)
    if form == "json":
        print_json({"name": name, "kube_context": kube_context, "namespace": namespace, "file": str(path)})
        return
    fields = [
        ("cluster", name + (" (the default from now on)" if is_default else "")),
        ("image", profile.image),
        ("mlflow", profile.tracking_uri),
        ("checkpoints", profile.storage or f"volume {profile.storage_claim}"),
        ("queue", profile.queue or ""),
        ("written to", str(path)),
        ("next", "stoker submit JOB.yaml" + ("" if is_default else f" --cluster {name}")),
    ]
    click.echo(fields_text(fields))


@cluster.command("ls")
@format_option
@session_object
def list_clusters(session: Session, form: str) -> None:
    """List the clusters of the config file."""
    settings = session.settings
    if form == "json":
        print_json(
            [
                {"name": each.name, "kube_context": each.kube_context, "namespace": each.namespace}
                for each in settings.clusters.values()
            ]
        )
        return
    rows = [[HERE, "", "", "default" if settings.cluster == HERE else ""]]
    for each in settings.clusters.values():
        mark = "default" if settings.cluster == each.name else ""
        rows.append([each.name, each.kube_context or "(the current one)", each.namespace, mark])
    click.echo(table_text(HEAD, rows))


@cluster.command()
@click.argument("name")
@session_object
def rm(session: Session, name: str) -> None:
    """Remove a cluster from the config file; nothing changes on the cluster itself."""
    if name not in session.settings.clusters:
        raise NotFound(f"no cluster '{name}' in {config_path()}")
    click.echo(f"removed '{name}' from {remove_cluster(name)}; its runs go on")
