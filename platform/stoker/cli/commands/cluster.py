"""`cluster add`, `ls`, `rm`: the clusters in the config file."""

from dataclasses import asdict

import click

from stoker.cli.session import Session, examples, format_option, session_object
from stoker.cli.views.tables import fields_text, print_json, table_text
from stoker.config_file import add_cluster, config_path, remove_cluster
from stoker.errors import AccessDenied, JobError, NotFound, Problem
from stoker.settings import LOCAL, ClusterSettings, RayClusterSettings, Settings

HEAD = ("cluster", "where", "")


@click.group(
    epilog=examples(
        "stoker cluster add prod --kube-context prod --namespace stoker",
        "stoker submit jobs/vision/digits-cnn.yaml --cluster prod",
    )
)
def cluster() -> None:
    """Add, list or remove clusters."""


@cluster.command(
    epilog=examples(
        "stoker cluster add prod --kube-context prod --namespace stoker",
        "stoker cluster add team --default     with the context that is current now, as the default for new runs",
        "stoker cluster add lab --ray-address https://ray.example.com --storage s3://runs/lab \\\n"
        "      --tracking-uri https://mlflow.example.com",
    )
)
@click.argument("name")
@click.option("--kube-context", default="", metavar="CONTEXT", help="Of the kubeconfig.  [default: the current one]")
@click.option("--namespace", metavar="NAME", help="Where the chart is installed.  [default: stoker]")
@click.option("--ray-address", default="", metavar="URL", help="Of an existing Ray cluster's dashboard.")
@click.option("--storage", default="", metavar="PLACE", help="Its checkpoints: s3://BUCKET/PREFIX or a folder.")
@click.option("--tracking-uri", default="", metavar="URI", help="MLflow, as its nodes reach it.")
@click.option("--insecure", is_flag=True, help="Send its token over plain http.")
@click.option("--default", "is_default", is_flag=True, help="Send new runs there unless --cluster names another.")
@format_option
@session_object
def add(
    session: Session,
    name: str,
    kube_context: str,
    namespace: str | None,
    ray_address: str,
    storage: str,
    tracking_uri: str,
    insecure: bool,
    is_default: bool,
    form: str,
) -> None:
    """Check that a cluster accepts runs from here, and write it to the config file.

    Nothing is written if it does not answer, has no chart in the namespace, or does not let you submit.
    """
    _require_free(session.settings, name)
    if ray_address and (kube_context or namespace):
        raise click.UsageError("--ray-address is for Ray clusters, --kube-context and --namespace for Kubernetes")
    if not ray_address and (storage or tracking_uri or insecure):
        raise click.UsageError("--storage, --tracking-uri and --insecure need --ray-address; the chart has its own")
    if ray_address:
        keys = {"ray_address": ray_address, "storage": storage, "tracking_uri": tracking_uri}
        keys |= {"insecure": "yes"} if insecure else {}
        found = _check_ray(session.settings, RayClusterSettings(name, **keys))
    else:
        from stoker.clusters.kubernetes.api import current_context

        keys = {"kube_context": kube_context or current_context(), "namespace": namespace or "stoker"}
        found = _check_kubernetes(ClusterSettings(name, **keys))
    path = add_cluster(name, keys, is_default)
    if form == "json":
        print_json({"name": name, **keys, "file": str(path)})
        return
    title = ("cluster", name + (" (now the default)" if is_default else ""))
    submit = "stoker submit JOB.yaml" + ("" if is_default else f" --cluster {name}")
    click.echo(fields_text([title, *found, ("written to", str(path)), ("next", submit)]))


@cluster.command("ls", epilog=examples("stoker cluster ls", "stoker cluster ls -o json"))
@format_option
@session_object
def list_clusters(session: Session, form: str) -> None:
    """List the clusters of the config file."""
    settings = session.settings
    if form == "json":
        print_json([asdict(each) for each in settings.clusters.values()])
        return
    rows = [[LOCAL, "this machine"], *([each.name, each.where] for each in settings.clusters.values())]
    click.echo(table_text(HEAD, [[*row, "default" if row[0] == settings.cluster else ""] for row in rows]))


@cluster.command(epilog=examples("stoker cluster rm prod"))
@click.argument("name")
@format_option
@session_object
def rm(session: Session, name: str, form: str) -> None:
    """Remove a cluster from the config file; nothing changes on the cluster itself."""
    if name not in session.settings.clusters:
        raise NotFound(f"no cluster '{name}' in {config_path()}")
    path = remove_cluster(name)
    if form == "json":
        print_json({"name": name, "file": str(path)})
    else:
        click.echo(f"removed '{name}' from {path}; its runs continue")


def _require_free(settings: Settings, name: str) -> None:
    if name == LOCAL:
        raise JobError([Problem("", f"'{LOCAL}' is the name of this machine; call the cluster something else")])
    if name in settings.clusters:
        raise JobError([Problem("", f"'{name}' is taken; `stoker cluster rm {name}` first")])


def _check_kubernetes(settings: ClusterSettings) -> list[tuple[str, str]]:
    """Check that a namespace accepts runs, and return its main settings."""
    from stoker.clusters.kubernetes.api import KubeApi

    api = KubeApi(settings)
    profile = api.profile()
    if missing := api.missing_permissions():
        raise AccessDenied(
            f"namespace '{settings.namespace}' has the chart, but you may not {', '.join(missing)} there; "
            "ask its administrator for the role stoker-submitter"
        )
    return [
        ("image", profile.image),
        ("mlflow", profile.tracking_uri),
        ("checkpoints", profile.storage or f"volume {profile.storage_claim}"),
        ("queue", profile.queue or ""),
    ]


def _check_ray(settings: Settings, cluster: RayClusterSettings) -> list[tuple[str, str]]:
    """Check that a Ray cluster answers, and return its main settings."""
    if not cluster.storage:
        raise click.UsageError("--storage is missing: name a place for checkpoints that every node reaches")
    from stoker.clusters.ray.cluster import RayCluster

    nodes = RayCluster(settings, cluster).nodes()
    totals = {kind: sum(node.get(kind, 0) for node in nodes) for kind in ("CPU", "GPU")}
    shown = ", ".join(f"{amount:g} {kind}s" for kind, amount in totals.items() if amount)
    return [("nodes", f"{len(nodes)} with {shown}"), ("mlflow", cluster.tracking_uri), ("checkpoints", cluster.storage)]
