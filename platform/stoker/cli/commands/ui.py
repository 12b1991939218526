"""`ui`: open the runs in MLflow, with a server on this machine unless there is one."""

import os
import re
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from stoker.cli.mlflow_links import MODE, LiveUi, live_ui
from stoker.cli.mlflow_server import MlflowServer, free_port
from stoker.cli.session import Session, cluster_option, examples, format_option, session_object
from stoker.cli.views.tables import print_json
from stoker.errors import ClusterError, NotFound, Unreachable
from stoker.settings import Settings, is_server, without_password
from stoker.tracking.health import health_error, require_server
from stoker.tracking.run_folder import RunFolder
from stoker.tracking.run_lookup import list_runs

if TYPE_CHECKING:
    from stoker.clusters.kubernetes.cluster import KubernetesCluster

PORT = 5000
START_TIMEOUT_S = 120.0
POLL_S = 0.2
SQLITE = "sqlite:///"


@click.command(
    epilog=examples(
        "stoker ui                          the experiment of the newest run",
        "stoker ui @last                    the page of the newest run",
        "stoker ui digits --port 8080 --no-browser",
        "stoker ui --cluster prod           the MLflow of a cluster, until Ctrl-C",
    )
)
@click.argument("run", metavar="[RUN]", required=False)
@click.option("--port", type=click.IntRange(1, 65535), default=PORT, show_default=True, help="Local port.")
@click.option("--browser/--no-browser", default=True, show_default=True, help="Open the page in a browser.")
@cluster_option
@format_option
@session_object
def ui(session: Session, run: str | None, port: int, browser: bool, form: str) -> None:
    """Open the runs in MLflow.

    Without a tracking server, one is started for this machine until Ctrl-C. That of a cluster is forwarded to a local
    port until Ctrl-C, and its login is shown.
    """
    folder = session.find(run) if run else None
    name = folder.header().cluster if folder else session.settings.cluster if session.remote else ""
    known = session.settings.clusters.get(name)
    if known and known.mlflow:
        page = (folder.status().url if folder else "") or f"/#/experiments?{MODE}"
        require_server(known.mlflow)
        show_page(without_password(known.mlflow) + page, browser, form)
        return
    if name:
        show_cluster_page(session.kubernetes(name, "its settings name no MLflow"), folder, port, browser, form)
        return
    settings, page = find_page(session, run)
    if is_server(settings.tracking_uri):
        require_server(settings.tracking_uri)
        show_page(without_password(settings.tracking_uri) + page, browser, form)
        return
    require_database(settings.tracking_uri)
    if up := live_ui(settings.home, settings.tracking_uri):
        show_page(up.base + page, browser, form, up)
        click.echo(f"it already runs as process {up.pid}", err=True)
    else:
        serve(settings, port, page, browser, form)


def show_cluster_page(
    cluster: "KubernetesCluster", folder: RunFolder | None, wanted: int, browser: bool, form: str
) -> None:
    """Forward a cluster's MLflow to a local port until Ctrl-C, and show a page of it.

    Raises:
        Unreachable: the cluster or its MLflow does not answer.
        NotFound: the run was not recorded in MLflow.

    """
    record = cluster.refresh(folder) if folder else None
    if record and not record.header.tracking_uri:
        raise NotFound(f"{record.id} has no page: its job says `tracking: none`")
    path = (record.status.url if record else "") or f"/#/experiments?{MODE}"
    port = free_port(wanted)
    with cluster.tracking(port) as (address, user, password):
        if reason := health_error(address, timeout_s=20.0):
            raise Unreachable(f"MLflow of cluster '{cluster.name}' does not answer ({reason})")
        try:
            if user and form == "table":
                click.echo(f"login: {user}\npassword: {password}")
            show_page(address + path, browser, form)
            if form == "table":
                click.echo("Ctrl-C stops it")
            while True:
                time.sleep(POLL_S)
        except KeyboardInterrupt:
            return


def find_page(session: Session, run: str | None) -> tuple[Settings, str]:
    """Return the store and the path of a page: of a run, or of the newest run's experiment.

    Raises:
        NotFound: there is no such run, or it was not recorded in MLflow.

    """
    if run is None:
        return session.settings, _runs_page(session.settings)
    record = session.find(run).record()
    if not record.header.tracking_uri:
        raise NotFound(f"{record.id} has no page: its job says `tracking: none`")
    settings = session.settings.of_run(record.header.tracking_uri, record.header.storage)
    return settings, record.status.url or f"/#/experiments?{MODE}"


def _runs_page(settings: Settings) -> str:
    experiments = (_experiment(folder) for folder in list_runs(settings.home))
    newest = next((experiment for experiment in experiments if experiment), "")
    return f"/#/experiments/{newest}/runs?{MODE}" if newest else f"/#/experiments?{MODE}"


def _experiment(folder: RunFolder) -> str:
    match = re.search(r"/experiments/(\w+)/", folder.status().url)
    return match[1] if match else ""


def require_database(uri: str) -> None:
    """Raise if a store does not exist: MLflow would create an empty one.

    Raises:
        NotFound: it does not.

    """
    if uri.startswith(SQLITE) and not Path(uri.removeprefix(SQLITE)).exists():
        raise NotFound(f"nothing recorded yet in {uri.removeprefix(SQLITE)}; `stoker submit JOB.yaml` records a run")


def serve(settings: Settings, wanted: int, page: str, browser: bool, form: str) -> None:
    """Serve a store until Ctrl-C.

    Raises:
        ClusterError: MLflow does not start, or exits by itself.

    """
    port = free_port(wanted)
    if port != wanted:
        click.echo(f"port {wanted} is taken; using {port}", err=True)
    with MlflowServer(settings, port) as server:
        try:
            _wait_until_ready(server)
            show_page(server.ui.base + page, browser, form, server.ui)
            if form == "table":
                click.echo("Ctrl-C stops it")
            server.process.wait()
        except KeyboardInterrupt:
            return
        raise ClusterError(f"MLflow exited with code {server.process.returncode}:\n{server.log_tail()}")


def show_page(link: str, browser: bool, form: str, server: LiveUi | None = None) -> None:
    """Print a link, and open it if there is a screen."""
    if form == "json":
        print_json({"url": link, "port": server.port if server else None, "pid": server.pid if server else None})
    else:
        click.echo(f"MLflow: {link}")
    if browser and sys.stdout.isatty() and _has_screen():
        import webbrowser

        webbrowser.open(link)


def _has_screen() -> bool:
    """Return whether a browser has a screen; otherwise a text browser would open in the terminal."""
    return sys.platform in ("darwin", "win32") or bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


def _wait_until_ready(server: MlflowServer) -> None:
    if not sys.stderr.isatty():
        _poll_until_ready(server)
        return
    from rich.console import Console

    with Console(stderr=True).status("starting MLflow"):
        _poll_until_ready(server)


def _poll_until_ready(server: MlflowServer) -> None:
    deadline = time.monotonic() + START_TIMEOUT_S
    while health_error(server.ui.base, timeout_s=1.0):
        if server.process.poll() is not None:
            raise ClusterError(f"MLflow does not start:\n{server.log_tail()}")
        if time.monotonic() > deadline:
            raise ClusterError(f"MLflow does not answer after {START_TIMEOUT_S:.0f} s:\n{server.log_tail()}")
        time.sleep(POLL_S)
    server.announce()
