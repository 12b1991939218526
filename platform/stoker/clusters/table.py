"""The clusters by the settings that open them; each is imported when it is opened."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from stoker.settings import ClusterSection, ClusterSettings, RayClusterSettings, Settings

if TYPE_CHECKING:
    from stoker.clusters.cluster import Cluster


def _kubernetes(settings: Settings, cluster: ClusterSettings) -> "Cluster":
    from stoker.clusters.kubernetes.cluster import KubernetesCluster

    return KubernetesCluster(settings, cluster)


def _ray(settings: Settings, cluster: RayClusterSettings) -> "Cluster":
    from stoker.clusters.ray.cluster import RayCluster

    return RayCluster(settings, cluster)


# a row's function takes the settings that stand beside it, which no type of a dict can express
CLUSTERS: dict[type[ClusterSection], Callable[[Settings, Any], "Cluster"]] = {
    ClusterSettings: _kubernetes,
    RayClusterSettings: _ray,
}


def open_cluster(settings: Settings, name: str) -> "Cluster":
    """Return a cluster of the settings.

    Raises:
        NotFound: no cluster has this name.
        ClusterError: the kubeconfig does not have its context.

    """
    cluster = settings.cluster_named(name)
    return CLUSTERS[type(cluster)](settings, cluster)
