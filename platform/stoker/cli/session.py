"""What the commands share: the user's places, and the arguments and options that mean the same everywhere."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import click

from stoker.errors import NotFound
from stoker.settings import HERE, RayClusterSettings, Settings, load_settings
from stoker.tracking.history import find_run, names_trial
from stoker.tracking.record import RunFolder

if TYPE_CHECKING:
    from stoker.clusters.cluster import Cluster
    from stoker.clusters.kubernetes.cluster import KubernetesCluster
    from stoker.clusters.local.cluster import LocalCluster
    from stoker.clusters.ray.cluster import RayCluster


@dataclass
class Session:
    """The places of this call; read only when a command needs them."""

    home: str | None = None
    tracking_uri: str | None = None
    storage: str | None = None
    driver: Sequence[str] = ()
    """The command of a run's driver; empty for Stoker's own."""
    cluster_name: str | None = None

    @cached_property
    def settings(self) -> Settings:
        """Flags, environment and config file together."""
        return load_settings(self.home, self.tracking_uri, self.storage, cluster=self.cluster_name)

    @cached_property
    def here(self) -> "LocalCluster":
        """Name this machine."""
        from stoker.clusters.local.cluster import LocalCluster
        from stoker.clusters.local.warm_driver import DRIVER

        return LocalCluster(self.settings, self.driver or DRIVER)

    @property
    def remote(self) -> bool:
        """Whether new runs go to a cluster."""
        return self.settings.cluster != HERE

    @cached_property
    def there(self) -> "KubernetesCluster | RayCluster":
        """The cluster that new runs go to."""
        return self.cluster(self.settings.cluster)

    def place_of(self, folder: RunFolder) -> "Cluster":
        """Say where a run is."""
        name = folder.header().cluster
        return self.cluster(name) if name else self.here

    def kubernetes(self, name: str, what: str) -> "KubernetesCluster":
        """Connect to a cluster of the settings for what a standing Ray does not have.

        Raises:
            NotFound: there is none of this name, or it is a standing Ray.
            ClusterError: the kubeconfig does not know the way.

        """
        found = self.cluster(name)
        from stoker.clusters.kubernetes.cluster import KubernetesCluster

        if not isinstance(found, KubernetesCluster):
            raise NotFound(f"cluster '{name}' is a standing Ray: {what}")
        return found

    def cluster(self, name: str) -> "KubernetesCluster | RayCluster":
        """Connect to a cluster of the settings.

        Raises:
            NotFound: there is none of this name.
            ClusterError: the kubeconfig does not know the way.

        """
        cluster = self.settings.cluster_named(name)
        if isinstance(cluster, RayClusterSettings):
            from stoker.clusters.ray.cluster import RayCluster

            return RayCluster(self.settings, cluster)
        from stoker.clusters.kubernetes.cluster import KubernetesCluster

        return KubernetesCluster(self.settings, cluster)

    def find(self, reference: str) -> RunFolder:
        """Find a run by id, name, unique prefix, `run:ID` or `@last`, and a trial by its number behind any of these.

        Somebody else's run on the cluster is found by its id, too.

        Raises:
            NotFound: no run, or several, answer to it.

        """
        try:
            return find_run(self.settings.home, reference)
        except NotFound:
            if not self.remote or reference == "@last" or names_trial(reference):
                raise
        place = self.kubernetes(self.settings.cluster, f"it does not tell whose run '{reference}' is")
        return place.adopt(reference.removeprefix("run:"))


def examples(*lines: str) -> str:
    """Write the end of a command's help: lines to type."""
    return "\b\nExamples:\n" + "\n".join(f"  {line}" for line in lines)


def parse_sets(sets: Sequence[str]) -> Sequence[str]:
    """Check that each `--set` has a key and a value.

    Raises:
        BadParameter: one has no equals sign.

    """
    for text in sets:
        if "=" not in text:
            raise click.BadParameter(f"'{text}' is not KEY=VALUE (example: training.epochs=1)", param_hint="'--set'")
    return sets


def _choose_cluster(context: click.Context, _parameter: click.Parameter, value: str | None) -> None:
    session = context.find_object(Session)
    if value and session:
        session.cluster_name = value


session_object = click.make_pass_decorator(Session)
cluster_option = click.option(
    "--cluster",
    metavar="NAME",
    expose_value=False,
    callback=_choose_cluster,
    help="The cluster that is meant; `local` is this machine.  [default: $STOKER_CLUSTER or the config file's]",
)
run_argument = click.argument("run", metavar="RUN")
job_argument = click.argument("job", metavar="JOB")
set_option = click.option(
    "--set",
    "sets",
    multiple=True,
    metavar="KEY=VALUE",
    callback=lambda _context, _parameter, value: parse_sets(value),
    help="Change a key of the file, such as training.epochs=1; may be repeated.",
)
detach_option = click.option("-d", "--detach", is_flag=True, help="Return as soon as the run is started.")
format_option = click.option(
    "-o",
    "--format",
    "form",
    type=click.Choice(["table", "json"]),
    default="table",
    show_default=True,
    help="How to print the result.",
)
