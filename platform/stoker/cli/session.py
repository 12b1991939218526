"""What all commands share: settings and clusters of one call, and common arguments and options."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import click

from stoker.errors import NotFound
from stoker.settings import LOCAL, Settings, load_settings
from stoker.tracking.run_folder import RunFolder
from stoker.tracking.run_lookup import find_run, is_trial_reference

if TYPE_CHECKING:
    from stoker.clusters.cluster import Cluster
    from stoker.clusters.kubernetes.cluster import KubernetesCluster
    from stoker.clusters.local.cluster import LocalCluster


@dataclass
class Session:
    """Settings and clusters of one call, loaded when a command needs them."""

    home: str | None = None
    tracking_uri: str | None = None
    storage: str | None = None
    driver: Sequence[str] = ()
    """The command of a run's driver; empty for Stoker's own."""
    cluster_name: str | None = None

    @cached_property
    def settings(self) -> Settings:
        """Flags, environment and config file combined."""
        return load_settings(self.home, self.tracking_uri, self.storage, cluster=self.cluster_name)

    @cached_property
    def local(self) -> "LocalCluster":
        """Runs on this machine."""
        from stoker.clusters.local.cluster import LocalCluster
        from stoker.clusters.local.warm_driver import DRIVER

        return LocalCluster(self.settings, self.driver or DRIVER)

    @property
    def remote(self) -> bool:
        """Whether new runs go to a cluster rather than this machine."""
        return self.settings.cluster != LOCAL

    @cached_property
    def target(self) -> "Cluster":
        """The cluster to which new runs go."""
        return self.cluster(self.settings.cluster)

    def cluster_of(self, folder: RunFolder) -> "Cluster":
        """Return the cluster of a run."""
        name = folder.header().cluster
        return self.cluster(name) if name else self.local

    def kubernetes(self, name: str, otherwise: str) -> "KubernetesCluster":
        """Return a Kubernetes cluster of the settings, for what no other cluster can do.

        Args:
            name: of the cluster.
            otherwise: what the error says about another kind of cluster.

        Raises:
            NotFound: no cluster has this name, or it is of another kind.
            ClusterError: the kubeconfig does not have its context.

        """
        found = self.cluster(name)
        from stoker.clusters.kubernetes.cluster import KubernetesCluster

        if not isinstance(found, KubernetesCluster):
            raise NotFound(f"cluster '{name}' is {self.settings.cluster_named(name).title}: {otherwise}")
        return found

    def cluster(self, name: str) -> "Cluster":
        """Return a cluster of the settings.

        Raises:
            NotFound: no cluster has this name.
            ClusterError: the kubeconfig does not have its context.

        """
        from stoker.clusters.table import open_cluster

        return open_cluster(self.settings, name)

    def find(self, reference: str) -> RunFolder:
        """Return a run by id, name, unique prefix, `run:ID` or `@last`; or a trial, by a number after any of these.

        Also finds a run on the cluster that was submitted elsewhere.

        Raises:
            NotFound: no run matches, or several do.

        """
        try:
            return find_run(self.settings.home, reference)
        except NotFound:
            if not self.remote or reference == "@last" or is_trial_reference(reference):
                raise
        cluster = self.kubernetes(self.settings.cluster, f"it cannot be searched for the run '{reference}'")
        return cluster.adopt(reference.removeprefix("run:"))


def examples(*lines: str) -> str:
    """Return the examples at the end of a command's help."""
    return "\b\nExamples:\n" + "\n".join(f"  {line}" for line in lines)


def parse_sets(sets: Sequence[str]) -> Sequence[str]:
    """Check that each `--set` is KEY=VALUE.

    Raises:
        BadParameter: one is not.

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
    help="The cluster to use; `local` is this machine.  [default: $STOKER_CLUSTER or the config file's]",
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
detach_option = click.option("-d", "--detach", is_flag=True, help="Return as soon as the run has started.")
format_option = click.option(
    "-o",
    "--format",
    "form",
    type=click.Choice(["table", "json"]),
    default="table",
    show_default=True,
    help="Output format.",
)
