"""Access from a client to the MLflow of a Kubernetes cluster, which may have a name that only the cluster resolves."""

from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

from stoker.clusters.kubernetes.api import KubeApi
from stoker.clusters.mlflow_api import login_from_environment


@contextmanager
def mlflow_access(api: KubeApi, namespace: str, port: int = 0) -> Iterator[tuple[str, str, str]]:
    """Yield address, user and password of the cluster's MLflow, which are valid during the block.

    Args:
        api: of the cluster.
        namespace: of the runs.
        port: local port where it is forwarded, if it has to be; 0 for any free one.

    """
    profile = api.profile()
    address = urlsplit(profile.tracking_uri)
    service, _, domain = (address.hostname or "").partition(".")
    user, password = login_from_environment()
    if profile.login_secret and not user:
        login = api.secret(profile.login_secret)
        user, password = login["MLFLOW_TRACKING_USERNAME"], login["MLFLOW_TRACKING_PASSWORD"]
    if domain.partition(".")[0] == namespace:  # a service of the cluster
        with api.port_forward(service, namespace, address.port or 80, port) as local:
            yield f"http://127.0.0.1:{local}", user, password
    else:
        yield profile.tracking_uri, user, password
